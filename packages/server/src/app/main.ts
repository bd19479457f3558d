/** The control plane without the CLI: `node packages/server/src/app/main.ts --state …`. */
import { keepHeapSmall } from "./heap.ts";

keepHeapSmall();
const { runServer } = await import("./run.ts");
process.exitCode = await runServer(process.argv.slice(2));

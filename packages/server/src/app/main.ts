/** The control plane without the CLI: `node packages/server/src/app/main.ts --state …`. Compiled code is kept for the next start. */
import { enableCompileCache } from "node:module";
import path from "node:path";

enableCompileCache(path.resolve(import.meta.dirname, "../../../../node_modules/.cache/inn"));
const { runServer } = await import("./run.ts");
process.exitCode = await runServer(process.argv.slice(2));

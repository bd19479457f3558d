/** `inn up`: the control plane in the foreground. Its own program reads the flags and answers signals. */
import { keepHeapSmall } from "@innkeeper/server/app/heap.ts";

export async function up(argv: readonly string[]): Promise<number> {
  keepHeapSmall();
  const { runServer } = await import("@innkeeper/server/app/run.ts");
  return await runServer(argv);
}

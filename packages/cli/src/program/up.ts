/** `inn up`: the control plane in the foreground. Its own program reads the flags and answers signals. */
import { runServer } from "@innkeeper/server/app/run.ts";

export async function up(argv: readonly string[]): Promise<number> {
  return await runServer(argv);
}

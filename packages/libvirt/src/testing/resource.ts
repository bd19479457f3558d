// What a process holds, for tests that nothing stays behind: handles, file descriptors, heap after a full collection.
import { readdirSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

export interface Held {
  /** Event loop's resources by kind ("PipeWrap", "Timeout" …). */
  readonly handles: Readonly<Record<string, number>>;
  readonly descriptorCount: number;
  /** JavaScript objects and buffers. */
  readonly heapBytes: number;
}

export async function held(): Promise<Held> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // What is closed now is let go in the turns that follow.
  for (let round = 0; round < 3; round += 1) {
    for (let count = 0; count < 5; count += 1) await turn();
    collect();
  }
  const handles: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) handles[kind] = (handles[kind] ?? 0) + 1;
  const { heapUsed, external } = process.memoryUsage();
  return { handles, descriptorCount: readdirSync("/proc/self/fd").length, heapBytes: heapUsed + external };
}

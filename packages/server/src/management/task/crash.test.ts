/**
 * kill -9 before and after every step, forward and backward, once and twice in a row, on a real store: after the next
 * start the task is finished or undone, nothing is left over, and nothing is made twice.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { samples } from "#management/task/crash.child.ts";

const script = path.join(import.meta.dirname, "crash.child.ts");

const outcome: Readonly<Record<string, object>> = {
  "sample.good": { state: "succeeded", made: ["a", "b", "c"], tasks: 1 },
  "sample.bad": { state: "failed", made: [], tasks: 1 },
  "sample.commit": { state: "succeeded", made: ["a", "b", "commit"], tasks: 1 },
};

async function run(folder: string, operation: string, crashAt = ""): Promise<{ signal: unknown; output: string }> {
  const child = spawn(process.execPath, [script, folder, operation, crashAt], { stdio: ["ignore", "pipe", "inherit"] });
  const [output, [, signal]] = await Promise.all([text(child.stdout), once(child, "exit") as Promise<unknown[]>]);
  return { signal, output };
}

for (const operation of samples) {
  describe(`killed while it runs ${operation.name}`, { concurrency: 2 }, () => {
    const forward = operation.steps.flatMap(({ name }) => [`${name}/before`, `${name}/after`]);
    const backward = operation.steps.flatMap(({ name, undo }) =>
      undo ? [`${name}/undo-before`, `${name}/undo-after`] : [],
    );
    const reached =
      operation.name === "sample.bad" ? [...forward.filter((each) => each !== "fail/after"), ...backward] : forward;
    for (const crashAt of reached) {
      test(`at ${crashAt}`, { timeout: 60_000 }, async () => {
        const folder = await mkdtemp(path.join(tmpdir(), "inn-crash-"));
        try {
          const first = await run(folder, operation.name, crashAt);
          assert.equal(first.signal, "SIGKILL", `the boundary was not reached: ${first.output}`);
          await run(folder, operation.name, crashAt);
          const last = await run(folder, operation.name);
          assert.equal(last.signal, null);
          assert.deepEqual(JSON.parse(last.output), outcome[operation.name]);
        } finally {
          await rm(folder, { recursive: true });
        }
      });
    }
  });
}

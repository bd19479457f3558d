/** Wall clocks are set: tasks, their order, deadlines, claims and keys go by what only grows. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { AppError } from "#core/app-error.ts";
import { type Operation, operation } from "#management/task/operation.ts";
import { EngineFixture, hastyClock } from "#management/task/engine-fixture.ts";
import { jumpingClock } from "#management/test-support/jumping-clock.ts";

const Input = Type.Object({ name: Type.String() });
const user = { userName: "tester" };

function sample(run: (name: string, signal: AbortSignal) => Promise<void>): Operation {
  return operation({
    name: "sample.run",
    input: Input,
    claims: () => ({ exclusive: ["one"] }),
    target: () => undefined,
    steps: [{ name: "run", do: ({ input, signal }) => run(input.name, signal) }],
  }) as Operation;
}

const open = (made: Operation) => EngineFixture.open([made], (store) => store, jumpingClock(hastyClock));

test("tasks of one resource run in the order in which they were made, also after a restart", async () => {
  const order: string[] = [];
  let hang = true;
  const begun = Promise.withResolvers<void>();
  await using fixture = await open(
    sample(async (name, signal) => {
      if (hang) {
        begun.resolve();
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      }
      order.push(name);
    }),
  );
  const names = ["a", "b", "c", "d", "e", "f"];
  const tasks = [];
  for (const name of names) tasks.push(await fixture.engine.submit("sample.run", { name }, user));
  await begun.promise;
  const times = tasks.map(({ createdAt }) => createdAt);
  assert.notDeepEqual(times, times.toSorted(), "the clock jumped");
  hang = false;
  await fixture.restart();
  for (const { id } of tasks) assert.equal((await fixture.engine.wait(id, 5000)).state, "succeeded");
  assert.deepEqual(order, names);
});

test("waits and retries take their time, no more and no less", async () => {
  let tries = 0;
  await using fixture = await open(
    sample(async () => {
      if (++tries < 3) throw new AppError("host_unreachable", "gone");
    }),
  );
  const failed = await fixture.run("sample.run", { name: "a" });
  assert.equal(failed.state, "failed", "the first try is the only one");
  const hanging = await open(sample(() => new Promise(() => {})));
  const { id } = await hanging.engine.submit("sample.run", { name: "a" }, user);
  assert.equal((await hanging.engine.wait(id, 20)).state, "running");
  await hanging[Symbol.asyncDispose]();
});

test("the same request with its key is the same task, whatever the clock says", async () => {
  await using fixture = await open(sample(async () => {}));
  const ids = new Set<string>();
  for (let time = 0; time < 6; time++) {
    ids.add((await fixture.engine.submit("sample.run", { name: "a" }, { ...user, idempotencyKey: "k" })).id);
    await fixture.engine.prune();
  }
  assert.equal(ids.size, 1);
});

/** Wall clocks are set: tasks, their order, deadlines, claims and keys go by what only grows. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { AppError } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import { type Operation, operation } from "#management/task/operation.ts";
import { EngineFixture, hastyClock } from "#management/task/engine-fixture.ts";
import { mustSucceed } from "#management/task/retry.ts";
import { jumpingClock } from "#core/test-support/jumping-clock.ts";

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

const open = (made: Operation, base = hastyClock) => EngineFixture.open([made], (store) => store, jumpingClock(base));

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

test("a step that is tried again waits as long as its back-off says, whatever the clock says", async () => {
  const slept: number[] = [];
  const base: Clock = {
    ...hastyClock,
    sleep: (delayMs, signal) => {
      slept.push(delayMs);
      return hastyClock.sleep(delayMs, signal);
    },
  };
  let tries = 0;
  const made = sample(async () => {
    if (++tries < 6) throw new AppError("host_unreachable", "gone");
  });
  const steps = made.steps.map((step) => ({ ...step, pointOfNoReturn: true }));
  await using fixture = await open({ ...made, steps }, base);
  assert.equal((await fixture.run("sample.run", { name: "a" })).state, "succeeded");
  assert.equal(slept.length, 5);
  for (const [index, delayMs] of slept.entries()) {
    const middleMs = mustSucceed.firstDelayMs * 2 ** index;
    assert.ok(delayMs >= middleMs * 0.75 && delayMs <= middleMs * 1.25, `${delayMs} ms before try ${index + 2}`);
  }
});

test("whoever waits for a task is answered in time, whatever the clock says", async () => {
  await using fixture = await open(
    sample(
      (_, signal) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    ),
  );
  const { id } = await fixture.engine.submit("sample.run", { name: "a" }, user);
  assert.equal((await fixture.engine.wait(id, 20)).state, "running");
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

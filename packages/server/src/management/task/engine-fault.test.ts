/** Faults outside of a task's steps: it keeps what it claims, goes on where it was, and ends as if nothing had been. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { AppError } from "#core/app-error.ts";
import { brief } from "#management/task/retry.ts";
import { type Operation, operation, type Step } from "#management/task/operation.ts";
import { EngineFixture, failingStore } from "#management/task/engine-fixture.ts";

const Input = Type.Object({ name: Type.String() });
type Input = { name: string };
const user = { userName: "tester" };

function sample(steps: readonly Step<Input>[]): Operation {
  return operation({
    name: "sample.run",
    input: Input,
    claims: () => ({ exclusive: ["one"] }),
    target: () => undefined,
    steps,
    outcome: ({ result }) => ({ made: result<{ made: string }>("first").made }),
  }) as Operation;
}

/** The next so many transactions fail, with what no retry is for. */
function faults(): { count: number; readonly next: () => Error | undefined } {
  const state = { count: 0, next: () => (state.count-- > 0 ? new Error("the disk is broken") : undefined) };
  return state;
}

for (const [title, at] of [
  ["between two steps", "first"],
  ["at its end", "second"],
] as const) {
  test(`a store that can't be written for a while ${title}: others wait, nothing is done twice`, async () => {
    const fault = faults();
    const log: string[] = [];
    const step = (name: string): Step<Input> => ({
      name,
      async do({ input }) {
        log.push(`${input.name} ${name}`);
        if (input.name === "a" && name === at) fault.count = 3;
        return { made: input.name };
      },
    });
    await using fixture = await EngineFixture.open([sample([step("first"), step("second")])], (store) =>
      failingStore(store, () => fault.next()),
    );
    const a = await fixture.engine.submit("sample.run", { name: "a" }, user);
    const b = await fixture.engine.submit("sample.run", { name: "b" }, user);
    const ended = [await fixture.engine.wait(a.id, 5000), await fixture.engine.wait(b.id, 5000)];
    assert.deepEqual(
      ended.map(({ state, result }) => [state, result]),
      [
        ["succeeded", { made: "a" }],
        ["succeeded", { made: "b" }],
      ],
    );
    assert.deepEqual(log, ["a first", "a second", "b first", "b second"]);
  });
}

test("a store that can't be written as a task turns back, or ends undone", async () => {
  const fault = faults();
  const log: string[] = [];
  const first: Step<Input> = {
    name: "first",
    async do() {
      return { made: "x" };
    },
    async undo() {
      log.push("undo");
      fault.count = 2;
    },
  };
  const second: Step<Input> = {
    name: "second",
    async do() {
      fault.count = 2;
      throw new Error("planned");
    },
  };
  await using fixture = await EngineFixture.open([sample([first, second])], (store) =>
    failingStore(store, () => fault.next()),
  );
  const task = await fixture.run("sample.run", { name: "a" });
  assert.equal(task.state, "failed");
  assert.deepEqual(task.error?.fault, { step: "second" });
  assert.deepEqual(log, ["undo"]);
});

test("a fault in what decides whether a step is needed is that step's failure", async () => {
  const undone: string[] = [];
  const first: Step<Input> = { name: "first", do: async () => {}, undo: async () => void undone.push("first") };
  const second: Step<Input> = {
    name: "second",
    do: async () => {},
    isNeedless() {
      throw new Error("bug");
    },
  };
  await using fixture = await EngineFixture.open([sample([first, second])]);
  const task = await fixture.run("sample.run", { name: "a" });
  assert.deepEqual([task.state, task.error?.code, undone], ["failed", "internal", ["first"]]);
});

test("what is waited for but briefly is so, too, after a start, and when it is tried again", async () => {
  let tries = 0;
  const reached = Promise.withResolvers<void>();
  let lingers = true;
  const act: Step<Input> = {
    name: "act",
    pointOfNoReturn: true,
    isBrief: true,
    async do({ signal }) {
      tries++;
      reached.resolve();
      if (lingers) await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      throw new AppError("host_unreachable", "It is gone.");
    },
  };
  await using fixture = await EngineFixture.open([sample([act])]);
  const { id } = await fixture.engine.submit("sample.run", { name: "a" }, user);
  await reached.promise;
  [tries, lingers] = [0, false];
  await fixture.restart();
  const left = await fixture.engine.wait(id, 5000);
  assert.deepEqual([left.state, left.unfinished, tries], ["failed", ["act"], brief.retryableTries]);
  tries = 0;
  const retry = await fixture.engine.retry(id, "tester");
  assert.equal((await fixture.engine.wait(retry.id, 5000)).state, "failed");
  assert.equal(tries, brief.retryableTries);
});

test("a process that leads no more begins no step, though nobody has told it yet, and leaves the task to another", async () => {
  const log: string[] = [];
  const step = (name: string): Step<Input> => ({
    name,
    async do() {
      log.push(name);
      fixture.leads = false;
      return { made: name };
    },
  });
  await using fixture = await EngineFixture.open([sample([step("first"), step("second")])]);
  const { id } = await fixture.engine.submit("sample.run", { name: "a" }, user);
  while (log.length === 0) await new Promise(setImmediate);
  await fixture.engine.stop();
  assert.deepEqual([log, fixture.inventory.require("task", id).state], [["first"], "running"]);
  fixture.leads = true;
  await fixture.restart();
  assert.equal((await fixture.engine.wait(id, 5000)).state, "succeeded");
  assert.deepEqual(log, ["first", "second"]);
});

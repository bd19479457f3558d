/** Tasks that another version stored: they go on at the step of the same name, or end and say that they can't. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { AppError } from "#core/app-error.ts";
import { type Operation, operation, type Step } from "#management/task/operation.ts";
import { EngineFixture } from "#management/task/engine-fixture.ts";

const user = { userName: "tester" };

/** An operation of steps that log what they do; `at`: what one of them does instead. */
function sample(
  log: string[],
  names: readonly string[],
  at: Partial<Step<unknown>> & { name?: string } = {},
): Operation {
  return operation({
    name: "sample.run",
    input: Type.Unknown(),
    claims: () => ({ exclusive: ["one"] }),
    target: () => undefined,
    steps: names.map((name) => ({
      name,
      do: async () => void log.push(`do ${name}`),
      undo: async () => void log.push(`undo ${name}`),
      ...(name === at.name ? at : {}),
    })),
  });
}

/** Left at a step by the version of these steps, taken up by that of others. */
async function taken(before: readonly string[], leftAt: string, after: readonly string[], broken = "") {
  const log: string[] = [];
  const reached = Promise.withResolvers<void>();
  const lingering = {
    name: leftAt,
    do: ({ signal }: { signal: AbortSignal }) =>
      new Promise<void>((_, reject) => {
        reached.resolve();
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
  };
  await using fixture = await EngineFixture.open([sample(log, before, lingering)]);
  const { id } = await fixture.engine.submit("sample.run", {}, user);
  await reached.promise;
  const fail = { name: broken, do: () => Promise.reject(new AppError("host_failed", "No.")) };
  await fixture.restart([sample(log, after, fail)]);
  const task = await fixture.engine.wait(id, 10_000);
  const free = fixture.engine.submit("sample.run", {}, user).then((next) => fixture.engine.wait(next.id, 10_000));
  return { task, log: [...log], next: (await free).state };
}
const states = ({ steps }: Task): string[] => steps.map(({ name, state }) => `${name} ${state}`);

test("a step that was added before the one that it was at counts as done; one that was added after it is done", async () => {
  const { task, log } = await taken(["a", "c"], "c", ["a", "b", "c", "d"]);
  assert.equal(task.state, "succeeded", task.error?.detail ?? "");
  assert.deepEqual(log, ["do a", "do c", "do d"]);
  assert.deepEqual(states(task), ["a done", "b done", "c done", "d done"]);
});

test("a step that was taken away after the one that it was at is not missed, and undoing finds each step by its name", async () => {
  const { task, log } = await taken(["a", "c", "x"], "c", ["a", "b", "c", "d"], "d");
  assert.equal(task.state, "failed");
  assert.deepEqual(log, ["do a", "do c", "undo d", "undo c", "undo b", "undo a"]);
});

for (const [title, after] of [
  ["is missing", ["a", "b"]],
  ["comes in another order", ["c", "a"]],
] as const) {
  test(`when a step that it has begun ${title} it ends, says so, and holds nothing`, async () => {
    const { task, log, next } = await taken(["a", "c"], "c", after);
    assert.deepEqual([task.state, log, next], ["failed", ["do a"], "succeeded"]);
    assert.match(task.error?.detail ?? "", /can't resume "sample.run": its steps are others/);
  });
}

test("one that has not begun takes the steps as they are now", async () => {
  const log: string[] = [];
  await using fixture = await EngineFixture.open([sample(log, ["a"])]);
  const first = await fixture.run("sample.run", {});
  const { revision: _, finishedAt: __, ...draft } = first;
  const steps = [{ name: "old", state: "pending" }] as const;
  await fixture.engine.stop();
  await fixture.store.transaction((transaction) =>
    transaction.put("task", { ...draft, state: "queued", steps: [...steps] }),
  );
  const record = {
    input: {},
    claims: { exclusive: [] },
    direction: "do",
    cursor: 0,
    begun: false,
    results: {},
  } as const;
  await fixture.putRecord(first.id, record);
  await fixture.restart([sample(log, ["new", "a"])]);
  const ended = await fixture.engine.wait(first.id, 10_000);
  assert.deepEqual([ended.state, log], ["succeeded", ["do a", "do new", "do a"]]);
});

test("a retry of what another version left half-done goes on at the same step, or is refused", async () => {
  const log: string[] = [];
  let isBroken = true;
  const commit = {
    name: "commit",
    pointOfNoReturn: true,
    do: async () => {
      if (isBroken) throw new AppError("host_failed", "No.");
      log.push("do commit");
    },
  };
  await using fixture = await EngineFixture.open([sample(log, ["a", "commit"], commit)]);
  const left = await fixture.run("sample.run", {});
  assert.deepEqual(left.unfinished, ["commit"]);
  isBroken = false;
  await fixture.restart([sample(log, ["a"], commit)]);
  await assert.rejects(fixture.engine.retry(left.id, "tester"), { code: "conflict", message: /in other steps/ });
  await fixture.restart([sample(log, ["a", "b", "commit"], commit)]);
  const retry = await fixture.engine.retry(left.id, "tester");
  const ended = await fixture.engine.wait(retry.id, 10_000);
  assert.deepEqual([ended.state, log], ["succeeded", ["do a", "do commit"]], ended.error?.detail ?? "");
});

/** Trying again what a failed task left half-done: forward, backward, once only, and not after others have worked there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { AppError } from "#core/app-error.ts";
import { type Operation, operation, type Step } from "#management/task/operation.ts";
import { prepareForRecheck } from "#management/recover/recheck.ts";
import { EngineFixture, hastyClock } from "#management/task/engine-fixture.ts";

const Input = Type.Object({ name: Type.String() });
type Input = { name: string };

function sample(name: string, steps: readonly Step<Input>[]): Operation {
  return operation({
    name,
    input: Input,
    claims: (input) => ({ exclusive: [`sample:${input.name}`] }),
    target: (input) => ({ kind: "vm", id: input.name }),
    steps,
    outcome: ({ result }) => ({ ...result("choose") }),
  }) as Operation;
}

const user = { userName: "tester" };
const refused = (): Promise<never> => Promise.reject(new AppError("host_failed", "No."));

interface World {
  broken: boolean;
  readonly log: string[];
}

const made = (context: { result<T>(step: string): T }): string => context.result<{ file: string }>("choose").file;

/** `sample.bad` can't be undone, and `sample.commit` can't be finished, while the world is broken. */
function operations(world: World): Operation[] {
  const { log } = world;
  const choose: Step<Input> = { name: "choose", do: async ({ taskId }) => ({ file: `/made-by-${taskId}` }) };
  return [
    sample("sample.bad", [
      choose,
      {
        name: "first",
        do: async (context) => void log.push(`make ${made(context)}`),
        undo: async (context) => void log.push(`remove ${made(context)}`),
      },
      { name: "second", do: async () => {}, undo: () => (world.broken ? refused() : Promise.resolve()) },
      { name: "third", do: refused },
    ]),
    sample("sample.commit", [
      choose,
      {
        name: "commit",
        pointOfNoReturn: true,
        do: async (context) => {
          log.push(`commit ${made(context)}, ${context.repeated ? "again" : "for the first time"}`);
          if (world.broken) await refused();
        },
      },
    ]),
    sample("sample.good", [choose]),
  ];
}

test("an undo that failed goes on where it was; its end is a success that says what was undone", async () => {
  const world: World = { broken: true, log: [] };
  await using fixture = await EngineFixture.open(operations(world));
  const failed = await fixture.run("sample.bad", { name: "a" });
  assert.deepEqual(failed.unfinished, ["first", "second"]);
  assert.equal(failed.steps[2]?.state, "failed");
  world.broken = false;
  // Also another process can go on with it: what it needs is in the store.
  await fixture.restart();
  const retry = await fixture.engine.retry(failed.id, "other");
  const ended = await fixture.engine.wait(retry.id, 5000);
  assert.equal(ended.state, "succeeded", ended.error?.detail ?? "");
  assert.deepEqual(
    { retryOf: ended.retryOf, by: ended.createdBy, target: ended.target, result: ended.result },
    { retryOf: failed.id, by: "other", target: failed.target, result: { undone: ["first", "second"] } },
  );
  assert.deepEqual(world.log, [`make /made-by-${failed.id}`, `remove /made-by-${failed.id}`]);
  assert.equal(fixture.inventory.require("task", failed.id).state, "failed");
});

test("what was past its point of no return is finished", async () => {
  const world: World = { broken: true, log: [] };
  await using fixture = await EngineFixture.open(operations(world));
  const failed = await fixture.run("sample.commit", { name: "a" });
  assert.deepEqual(failed.unfinished, ["commit"]);
  assert.match(failed.error?.remedy ?? "", /inn task retry/);
  world.broken = false;
  const ended = await fixture.engine.wait((await fixture.engine.retry(failed.id, "tester")).id, 5000);
  assert.equal(ended.state, "succeeded", ended.error?.detail ?? "");
  assert.deepEqual(ended.result, { file: `/made-by-${failed.id}` });
  assert.deepEqual(
    new Set(world.log),
    new Set([`commit /made-by-${failed.id}, for the first time`, `commit /made-by-${failed.id}, again`]),
  );
});

test("after a restore from a backup there is no way to go on, and that is said", async () => {
  const world: World = { broken: true, log: [] };
  await using fixture = await EngineFixture.open(operations(world));
  const failed = await fixture.run("sample.bad", { name: "a" });
  await fixture.engine.stop();
  await prepareForRecheck(fixture.store, hastyClock, { type: "system.restored", message: "Restored" });
  await fixture.restart();
  await assert.rejects(fixture.engine.retry(failed.id, "tester"), (error: AppError) => {
    assert.deepEqual([error.code, error.field], ["conflict", "taskId"]);
    assert.match(error.message, /restored or recovered/);
    return true;
  });
});

test("a retry that fails can be tried again itself; the one before it can't any more", async () => {
  const world: World = { broken: true, log: [] };
  await using fixture = await EngineFixture.open(operations(world));
  const failed = await fixture.run("sample.bad", { name: "a" });
  const second = await fixture.engine.wait((await fixture.engine.retry(failed.id, "tester")).id, 5000);
  assert.equal(second.state, "failed");
  assert.deepEqual(second.unfinished, ["first", "second"]);
  assert.equal(second.error?.code, "host_failed");
  await assert.rejects(fixture.engine.retry(failed.id, "tester"), (error: AppError) => {
    assert.equal(error.code, "conflict");
    assert.match(error.message, new RegExp(second.id));
    return true;
  });
  world.broken = false;
  const third = await fixture.engine.wait((await fixture.engine.retry(second.id, "tester")).id, 5000);
  assert.equal(third.state, "succeeded");
});

test("refused: what left nothing, what has not ended, what is unknown, what others have worked on since", async () => {
  const world: World = { broken: false, log: [] };
  await using fixture = await EngineFixture.open(operations(world));
  const { engine } = fixture;
  const clean = await fixture.run("sample.bad", { name: "a" });
  assert.equal(clean.unfinished, undefined);
  await assert.rejects(engine.retry(clean.id, "tester"), { code: "invalid_state", field: "taskId" });
  await assert.rejects(engine.retry("task-000000000000", "tester"), { code: "not_found" });
  world.broken = true;
  const failed = await fixture.run("sample.bad", { name: "a" });
  await fixture.run("sample.good", { name: "b" });
  const later = await fixture.run("sample.good", { name: "a" });
  const before = fixture.inventory.list("task").length;
  await assert.rejects(engine.retry(failed.id, "tester"), (error: AppError) => {
    assert.equal(error.code, "conflict");
    assert.match(error.message, new RegExp(later.id));
    return true;
  });
  assert.equal(fixture.inventory.list("task").length, before);
});

test("a task that makes something has its id and name from the first moment", async () => {
  const seen: unknown[] = [];
  const making = operation({
    name: "sample.make",
    input: Input,
    claims: () => ({ exclusive: [] }),
    target: ({ name }) => ({ kind: "vm", id: `vm-${Math.random()}`, name }),
    steps: [{ name: "make", do: async ({ target }) => void seen.push(target) }],
  });
  await using fixture = await EngineFixture.open([making as Operation]);
  const submitted = await fixture.engine.submit("sample.make", { name: "a" }, user);
  await fixture.engine.wait(submitted.id, 5000);
  assert.equal(submitted.target?.name, "a");
  assert.deepEqual(seen, [submitted.target]);
});

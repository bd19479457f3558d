/** The engine on a real store: order, results, failure, cancellation, limits, idempotency, stop and resume. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { AppError } from "#core/app-error.ts";
import { type Operation, operation, type Step, type StepContext } from "#management/task/operation.ts";
import { EngineFixture, failingStore, hastyClock } from "#management/task/engine-fixture.ts";

const Input = Type.Object({ name: Type.String() }, { additionalProperties: false });
type Input = { name: string };

function sample(steps: readonly Step<Input>[], extra: Partial<Operation<typeof Input>> = {}): Operation {
  return operation({
    name: "sample.run",
    input: Input,
    claims: (input) => ({ exclusive: [`sample:${input.name}`] }),
    target: () => undefined,
    steps,
    ...extra,
  }) as Operation;
}

const user = { userName: "tester" };
const states = (task: Task): string[] => task.steps.map((step) => step.state);

test("steps run in order, see earlier results, and the outcome is the task's result", async () => {
  const log: string[] = [];
  await using fixture = await EngineFixture.open([
    sample(
      [
        { name: "choose", do: async (context) => (log.push("choose"), { id: `${context.input.name}-1` }) },
        {
          name: "make",
          async do(context) {
            log.push(`make ${context.result<{ id: string }>("choose").id} for ${context.userName}`);
            context.progress({ done: 1, total: 2, unit: "byte" }, "copying");
          },
        },
      ],
      { outcome: (context) => ({ vmId: context.result<{ id: string }>("choose").id }) },
    ),
  ]);
  const submitted = await fixture.engine.submit("sample.run", { name: "a" }, user);
  assert.equal(submitted.state, "queued");
  const task = await fixture.engine.wait(submitted.id, 5000);
  assert.deepEqual(log, ["choose", "make a-1 for tester"]);
  assert.equal(task.state, "succeeded");
  assert.deepEqual(task.result, { vmId: "a-1" });
  assert.deepEqual(states(task), ["done", "done"]);
  assert.deepEqual(task.progress, { done: 2, total: 2, unit: "step" });
  const events = fixture.inventory.list("event").map((event) => event.type);
  assert.deepEqual(events.toSorted(), ["task.started", "task.succeeded"]);
});

test("a step that has nothing to do is passed over, and nothing is written of it", async () => {
  const done: string[] = [];
  const step = (name: string) => ({
    name,
    isNeedless: ({ input }: { readonly input: { readonly name: string } }) => input.name !== name,
    do: async () => void done.push(name),
  });
  await using fixture = await EngineFixture.open([sample(["one", "two", "three"].map(step))]);
  const before = fixture.inventory.revision;
  const task = await fixture.run("sample.run", { name: "two" });
  assert.equal(task.state, "succeeded");
  assert.deepEqual(done, ["two"]);
  assert.deepEqual(states(task), ["done", "done", "done"]);
  const [all, two] = [fixture.inventory.revision - before, ["two"]];
  await using plain = await EngineFixture.open([sample(two.map(step))]);
  const start = plain.inventory.revision;
  await plain.run("sample.run", { name: "two" });
  assert.equal(all, plain.inventory.revision - start);
});

test("a failed step is undone with those before it, in reverse; the problem names the step", async () => {
  const undone: string[] = [];
  const step = (name: string, fails = false): Step<Input> => ({
    name,
    do: async () => {
      if (fails) throw new AppError("disk_full", "The pool is full; nothing was made.", { field: "pool" });
      return { name };
    },
    undo: async (context) => void undone.push(`${name} ${JSON.stringify(context.resultIfAny(name))}`),
  });
  await using fixture = await EngineFixture.open([
    sample([step("one"), step("two"), step("three", true), step("four")]),
  ]);
  const task = await fixture.run("sample.run", { name: "a" });
  assert.equal(task.state, "failed");
  assert.deepEqual(undone, ["three undefined", 'two {"name":"two"}', 'one {"name":"one"}']);
  assert.deepEqual(states(task), ["undone", "undone", "undone", "pending"]);
  assert.equal(task.error?.code, "disk_full");
  assert.equal(task.error?.field, "pool");
  assert.deepEqual(task.error?.fault, { step: "three" });
});

test("an undo that fails is tried again; when it fails for good the task names what was left", async () => {
  let tries = 0;
  await using fixture = await EngineFixture.open([
    sample([
      { name: "first", do: async () => ({ path: "/x" }), undo: async () => {} },
      {
        name: "second",
        do: async () => ({ path: "/y" }),
        undo: async () => {
          tries++;
          throw new Error("bug");
        },
      },
      { name: "third", do: () => Promise.reject(new AppError("host_failed", "No.")) },
    ]),
  ]);
  const task = await fixture.run("sample.run", { name: "a" });
  assert.equal(task.state, "failed");
  assert.equal(tries, 3);
  assert.equal(task.error?.code, "host_failed");
  assert.match(task.error?.detail ?? "", /Undoing "second" failed.*left as they are: first, second/);
  assert.deepEqual(task.error?.fault?.["left"], { first: { path: "/x" }, second: { path: "/y" } });
});

test("a step that can't be undone and did nothing leaves nothing half-done; what was before it is undone", async () => {
  const refused = new AppError("conflict", "Busy.", { nothingDone: true });
  const again = new AppError("conflict", "Again.");
  await using fixture = await EngineFixture.open([
    sample([
      { name: "first", do: async () => undefined, undo: async () => {} },
      // As the operations have it: a second try can't know what the first has done.
      { name: "second", pointOfNoReturn: true, do: ({ repeated }) => Promise.reject(repeated ? again : refused) },
    ]),
  ]);
  const task = await fixture.run("sample.run", { name: "a" });
  assert.deepEqual([task.state, task.error?.detail, task.unfinished], ["failed", "Busy.", undefined]);
  assert.deepEqual(states(task), ["undone", "failed"]);
});

test("what an undo leaves to others is told with the failure", async () => {
  await using fixture = await EngineFixture.open([
    sample([
      { name: "first", do: async () => undefined, undo: async () => "That stays." },
      { name: "second", do: () => Promise.reject(new AppError("host_failed", "No.")) },
    ]),
  ]);
  const task = await fixture.run("sample.run", { name: "a" });
  assert.equal(task.error?.detail, "No. That stays.");
  assert.deepEqual(states(task), ["undone", "failed"]);
});

test("an unreachable host is waited for while undoing", async () => {
  let tries = 0;
  await using fixture = await EngineFixture.open([
    sample([
      {
        name: "first",
        do: async () => undefined,
        undo: async () => {
          if (++tries < 8) throw new AppError("host_unreachable", "gone");
        },
      },
      { name: "second", do: () => Promise.reject(new AppError("host_failed", "No.")) },
    ]),
  ]);
  const task = await fixture.run("sample.run", { name: "a" });
  assert.equal(tries, 8);
  assert.equal(task.error?.detail, "No.");
});

test("cancelling stops the step and undoes; a task in the queue just ends; after the end it is refused", async () => {
  const begun = Promise.withResolvers<void>();
  const undone: string[] = [];
  await using fixture = await EngineFixture.open([
    sample([
      { name: "one", do: async () => undefined, undo: async () => void undone.push("one") },
      {
        name: "two",
        do: (context) =>
          new Promise((_, reject) => {
            context.signal.addEventListener("abort", () => reject(new Error("stopped")));
            begun.resolve();
          }),
        undo: async () => void undone.push("two"),
      },
    ]),
  ]);
  const running = await fixture.engine.submit("sample.run", { name: "a" }, user);
  const queued = await fixture.engine.submit("sample.run", { name: "a" }, user);
  await begun.promise;
  await fixture.engine.cancel(queued.id);
  assert.equal((await fixture.engine.wait(queued.id, 5000)).state, "cancelled");
  assert.equal((await fixture.engine.cancel(running.id)).cancelRequested, true);
  const task = await fixture.engine.wait(running.id, 5000);
  assert.equal(task.state, "cancelled");
  assert.equal(task.error?.code, "cancelled");
  assert.deepEqual(undone, ["two", "one"]);
  await assert.rejects(fixture.engine.cancel(running.id), { code: "invalid_state" });
});

test("after the point of no return a task can't be cancelled, and is repeated until it succeeds", async () => {
  let tries = 0;
  const reached = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  await using fixture = await EngineFixture.open([
    sample([
      { name: "one", do: async () => undefined, undo: () => Promise.reject(new Error("must not be undone")) },
      {
        name: "commit",
        pointOfNoReturn: true,
        async do() {
          reached.resolve();
          await go.promise;
          if (++tries < 4) throw new AppError("host_unreachable", "gone");
        },
      },
      { name: "tidy", do: () => Promise.reject(new AppError("host_failed", "Tidying failed.")) },
    ]),
  ]);
  const submitted = await fixture.engine.submit("sample.run", { name: "a" }, user);
  await reached.promise;
  await assert.rejects(fixture.engine.cancel(submitted.id), { code: "invalid_state" });
  go.resolve();
  const task = await fixture.engine.wait(submitted.id, 5000);
  assert.equal(tries, 4);
  assert.equal(task.state, "failed");
  assert.deepEqual(states(task), ["done", "done", "failed"]);
  assert.match(task.error?.detail ?? "", /Tidying failed\. What was done before stays; still to do: tidy\./);
});

test("who waits to try again counts for no limit meanwhile, and for it again when it works", async () => {
  let isBack = false;
  let working = 0;
  const limited = [{ key: "task", max: 2, onlyAtWork: true as const }];
  const claims = (input: Input) => ({ exclusive: [input.name], limited });
  const gone: Step<Input> = {
    name: "gone",
    pointOfNoReturn: true,
    do: async () => {
      if (!isBack) throw new AppError("host_unreachable", "The host is gone.");
      working++;
    },
  };
  await using fixture = await EngineFixture.open([
    sample([gone], { name: "sample.gone", claims }),
    sample([{ name: "work", do: async () => {} }], { name: "sample.good", claims }),
  ]);
  const waiting = ["a", "b", "c", "d"].map((name) => fixture.run("sample.gone", { name }));
  const good = await Promise.all(["e", "f", "g"].map((name) => fixture.run("sample.good", { name })));
  assert.deepEqual(new Set(good.map(({ state }) => state)), new Set(["succeeded"]));
  assert.equal(working, 0);
  isBack = true;
  assert.deepEqual(new Set((await Promise.all(waiting)).map(({ state }) => state)), new Set(["succeeded"]));
  assert.equal(working, 4);
});

test("tasks on one resource run in their order, others at once, limited ones as many as allowed", async () => {
  let running = 0;
  let most = 0;
  let gate = Promise.withResolvers<void>();
  const order: string[] = [];
  const step: Step<Input> = {
    name: "work",
    async do(context) {
      most = Math.max(most, ++running);
      order.push(context.input.name);
      await gate.promise;
      running--;
    },
  };
  await using fixture = await EngineFixture.open([
    sample([step], { name: "sample.serial", claims: () => ({ exclusive: ["one"] }) }),
    sample([step], {
      name: "sample.limited",
      claims: (input) => ({ exclusive: [input.name], limited: [{ key: "copy", max: 2 }] }),
    }),
    sample([{ name: "pass", do: async () => ({}) }]),
  ]);
  const names = Array.from({ length: 6 }, (_, index) => `${index}`);
  for (const [name, allowed] of [
    ["sample.serial", 1],
    ["sample.limited", 2],
  ] as const) {
    gate = Promise.withResolvers();
    [most, order.length] = [0, 0];
    const all = names.map((each) => fixture.run(name, { name: each }));
    // One that came after them, and that nothing holds up, has ended: those that may run do.
    await fixture.run("sample.run", { name: "later" });
    assert.equal(running, allowed);
    gate.resolve();
    await Promise.all(all);
    assert.deepEqual(order.toSorted(), names);
    if (allowed === 1) assert.deepEqual(order, names);
    assert.equal(most, allowed);
  }
});

test("what the check or the schema refuses records nothing", async () => {
  await using fixture = await EngineFixture.open([
    sample([], {
      check(input) {
        if (input.name === "taken") throw new AppError("name_taken", "taken", { field: "request.name" });
      },
    }),
  ]);
  await assert.rejects(fixture.run("sample.run", { name: "taken" }), { code: "name_taken" });
  await assert.rejects(fixture.run("sample.run", { name: 5 }), { code: "invalid_field", field: "name" });
  await assert.rejects(fixture.run("sample.other", {}), { code: "unsupported" });
  assert.deepEqual(fixture.inventory.list("task"), []);
});

test("the same idempotency key is one task; with another request it is refused", async () => {
  let runs = 0;
  await using fixture = await EngineFixture.open([sample([{ name: "one", do: async () => void runs++ }])]);
  const request = { ...user, idempotencyKey: "k1" };
  const tasks = await Promise.all([1, 2, 3].map(() => fixture.engine.submit("sample.run", { name: "a" }, request)));
  assert.equal(new Set(tasks.map((task) => task.id)).size, 1);
  await fixture.engine.wait(tasks[0]?.id ?? "", 5000);
  assert.equal((await fixture.engine.submit("sample.run", { name: "a" }, request)).state, "succeeded");
  assert.equal(runs, 1);
  await assert.rejects(fixture.engine.submit("sample.run", { name: "b" }, request), { code: "conflict" });
  const other = await fixture.engine.submit("sample.run", { name: "b" }, { userName: "other", idempotencyKey: "k1" });
  assert.notEqual(other.id, tasks[0]?.id);
});

test("of two clients with one ETag the second is refused, also while the first one's task is under way", async () => {
  const go = Promise.withResolvers<void>();
  await using fixture = await EngineFixture.open([
    sample([{ name: "one", do: () => go.promise }], { target: (input) => ({ kind: "user", id: input.name }) }),
  ]);
  const target = await fixture.putUser("alice");
  const submit = (ifRevision: number) =>
    fixture.engine.submit("sample.run", { name: target.id }, { ...user, ifRevision });
  const [one, other] = await Promise.allSettled([submit(target.revision), submit(target.revision)]);
  assert.equal(one.status, "fulfilled");
  assert.ok(other.status === "rejected");
  assert.equal(other.reason.code, "precondition_failed");
  assert.match(other.reason.message, /is changing it/);
  go.resolve();
  if (one.status === "fulfilled") await fixture.engine.wait(one.value.id, 5000);
  await fixture.putUser("alice", { id: target.id, fullName: "Alice" });
  await assert.rejects(submit(target.revision), (error: AppError) => {
    assert.deepEqual(error.changes, [{ field: "fullName", before: "", after: "Alice" }]);
    return true;
  });
});

test("what is done to a VM's snapshot is done to the VM: another's change with its ETag is refused, and told of it", async () => {
  const go = Promise.withResolvers<void>();
  const put: { now: () => Promise<unknown> } = { now: async () => undefined };
  const revert = async (): Promise<void> => {
    await go.promise;
    await put.now();
  };
  await using fixture = await EngineFixture.open([
    sample([{ name: "one", do: revert }], {
      target: ({ name }) =>
        name.startsWith("of ") ? { kind: "snapshot", id: "snap-1", vmId: name.slice(3) } : { kind: "user", id: name },
    }),
  ]);
  const target = await fixture.putUser("alice");
  put.now = () => fixture.putUser("alice", { id: target.id, fullName: "reverted" });
  const task = await fixture.engine.submit("sample.run", { name: `of ${target.id}` }, user);
  const late = { ...user, ifRevision: target.revision };
  const busy = fixture.engine.submit("sample.run", { name: target.id }, late);
  await assert.rejects(busy, { code: "precondition_failed", message: new RegExp(`task ${task.id} .* is changing it`) });
  go.resolve();
  await fixture.engine.wait(task.id, 5000);
  await assert.rejects(fixture.engine.submit("sample.run", { name: target.id }, late), (error: AppError) => {
    const [change] = error.changes ?? [];
    assert.deepEqual([change?.field, change?.after, change?.taskId], ["fullName", "reverted", task.id]);
    return true;
  });
});

test("who comes too late is told what changed, by whom and when, and what the host did by itself", async () => {
  const put: { now: (change: object) => Promise<unknown> } = { now: async () => undefined };
  await using fixture = await EngineFixture.open([
    sample([{ name: "one", do: async () => void (await put.now({ fullName: "Alice", role: "read-only" })) }], {
      target: (input) => ({ kind: "user", id: input.name }),
    }),
  ]);
  const target = await fixture.putUser("alice");
  put.now = (change) => fixture.putUser("alice", { id: target.id, ...change });
  const task = await fixture.run("sample.run", { name: target.id });
  await put.now({ fullName: "Alice", role: "read-only", disabled: true });
  const late = fixture.engine.submit("sample.run", { name: target.id }, { ...user, ifRevision: target.revision });
  await assert.rejects(late, (error: AppError) => {
    const told = { by: "tester", taskId: task.id, at: task.finishedAt };
    assert.deepEqual(
      new Set(error.changes),
      new Set([
        { field: "fullName", before: "", after: "Alice", ...told },
        { field: "role", before: "operator", after: "read-only", ...told },
        { field: "disabled", before: false, after: true },
      ]),
    );
    return true;
  });
});

test("a stop leaves tasks as they are; the next engine finishes or undoes them", async () => {
  const begun = Promise.withResolvers<void>();
  let hang = true;
  const done: string[] = [];
  const steps: Step<Input>[] = [
    { name: "choose", do: async () => (done.push("choose"), { id: "x1" }) },
    {
      name: "make",
      do: async (context) => {
        if (hang) {
          begun.resolve();
          await new Promise((_, reject) =>
            context.signal.addEventListener("abort", () => reject(context.signal.reason)),
          );
        }
        done.push(`make ${context.result<{ id: string }>("choose").id}`);
      },
    },
  ];
  await using fixture = await EngineFixture.open([sample(steps)]);
  const submitted = await fixture.engine.submit("sample.run", { name: "a" }, user);
  await begun.promise;
  await fixture.engine.stop();
  assert.equal(fixture.inventory.require("task", submitted.id).state, "running");
  await assert.rejects(fixture.engine.submit("sample.run", { name: "b" }, user), { code: "shutting_down" });
  hang = false;
  await fixture.restart();
  const task = await fixture.engine.wait(submitted.id, 5000);
  assert.equal(task.state, "succeeded");
  assert.deepEqual(done, ["choose", "make x1"]);
});

test("after a start hosts that are not connected yet are waited for in each step, not only in the first", async () => {
  const begun = Promise.withResolvers<void>();
  let tries = 0;
  const steps: Step<Input>[] = [
    {
      name: "plan",
      do: async ({ signal }) => {
        begun.resolve();
        if (tries === 0)
          await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      },
    },
    {
      name: "make",
      do: async () => {
        if (++tries < 8) throw new AppError("host_unreachable", "not connected");
      },
    },
  ];
  await using fixture = await EngineFixture.open([sample(steps)]);
  const { id } = await fixture.engine.submit("sample.run", { name: "a" }, user);
  await begun.promise;
  await fixture.engine.stop();
  tries = 1;
  await fixture.restart();
  assert.equal((await fixture.engine.wait(id, 5000)).state, "succeeded");
  assert.equal(tries, 8);
});

test("what a step keeps before it goes on is found by its next attempt, by later steps and by the undo", async () => {
  const seen: string[] = [];
  const look = (where: string, context: StepContext<Input>): void =>
    void seen.push(`${where} ${JSON.stringify(context.resultIfAny("mark"))}`);
  const begun = Promise.withResolvers<void>();
  await using fixture = await EngineFixture.open([
    sample([
      {
        name: "first",
        async do(context) {
          look("first", context);
          if (context.repeated) return;
          await context.keep("mark", { at: "once" });
          look("then", context);
          begun.resolve();
          await new Promise((_, reject) => context.signal.addEventListener("abort", reject));
        },
        undo: async (context) => look("undo", context),
      },
      {
        name: "second",
        async do(context) {
          look("second", context);
          throw new Error("planned");
        },
      },
    ]),
  ]);
  const { id } = await fixture.engine.submit("sample.run", { name: "a" }, user);
  await begun.promise;
  await fixture.restart();
  assert.equal((await fixture.engine.wait(id, 5000)).state, "failed");
  const kept = '{"at":"once"}';
  assert.deepEqual(seen, ["first undefined", `then ${kept}`, `first ${kept}`, `second ${kept}`, `undo ${kept}`]);
});

test("while the store is full a task waits, does no step twice, and goes on when there is space", async () => {
  const runs: string[] = [];
  let full = 0;
  const record = (name: string): Step<Input> => ({
    name,
    do: async () => {
      runs.push(name);
      if (name === "one") full = 3;
      return { name };
    },
  });
  await using fixture = await EngineFixture.open([sample([record("one"), record("two")])], (store) =>
    failingStore(store, () => (full-- > 0 ? new AppError("disk_full", "No space is left.") : undefined)),
  );
  const task = await fixture.run("sample.run", { name: "a" });
  assert.equal(task.state, "succeeded");
  assert.ok(full < 0, "the store was full");
  assert.deepEqual(runs, ["one", "two"]);
});

test("the remaining time is told from earlier runs", async () => {
  const seen: unknown[] = [];
  let nowMs = 0;
  const takes = (name: string, durationMs: number): Step<Input> => ({
    name,
    async do() {
      nowMs += durationMs;
    },
  });
  const clock = { ...hastyClock, monotonicMs: () => nowMs };
  const steps = [takes("one", 2000), takes("two", 3000)];
  await using fixture = await EngineFixture.open([sample(steps)], undefined, clock);
  fixture.inventory.onChange((changes) => {
    for (const { resource } of changes) if (resource && "steps" in resource) seen.push(resource.estimatedRemainingMs);
  });
  await fixture.run("sample.run", { name: "a" });
  assert.deepEqual(seen, [undefined, undefined, undefined, 0]);
  await fixture.restart();
  seen.length = 0;
  await fixture.run("sample.run", { name: "a" });
  assert.deepEqual(seen.slice(1), [5000, 3000, 0]);
});

test("inputs are not readable in the store", async () => {
  await using fixture = await EngineFixture.open([sample([{ name: "one", do: () => new Promise(() => {}) }])]);
  const task = await fixture.engine.submit("sample.run", { name: "topsecret" }, user);
  const stored = await fixture.store.transaction((transaction) => transaction.getPrivate("task", task.id));
  assert.equal(typeof stored, "string");
  assert.ok(!String(stored).includes("topsecret"));
});

test("a task stays with the target that its name meant when it was submitted", async () => {
  const held = Promise.withResolvers<void>();
  const seen: string[] = [];
  const Id = Type.Object({ hostId: Type.String() });
  const onHost = operation({
    name: "host.touch",
    input: Id,
    claims: () => ({ exclusive: ["one"] }),
    target: ({ hostId }) => ({ kind: "host", id: hostId === "rack1" ? "host-1" : hostId }),
    steps: [
      {
        name: "touch",
        async do({ input }) {
          seen.push(input.hostId);
          await held.promise;
        },
      },
    ],
  });
  await using fixture = await EngineFixture.open([onHost as Operation]);
  const first = await fixture.engine.submit("host.touch", { hostId: "host-0" }, user);
  const second = await fixture.engine.submit("host.touch", { hostId: "rack1" }, user);
  held.resolve();
  for (const { id } of [first, second]) assert.equal((await fixture.engine.wait(id, 5000)).state, "succeeded");
  assert.deepEqual(seen, ["host-0", "host-1"]);
});

test("a task shares the host of its target: who wants the host alone waits for it", async () => {
  const held = Promise.withResolvers<void>();
  const log: string[] = [];
  const step = (name: string, until: Promise<void>): Step<Input> => ({
    name,
    async do() {
      log.push(`${name} begins`);
      await until;
      log.push(`${name} ends`);
    },
  });
  await using fixture = await EngineFixture.open([
    sample([step("work", held.promise)], { name: "host.work", target: () => ({ kind: "host", id: "host-1" }) }),
    sample([step("remove", Promise.resolve())], {
      name: "host.remove",
      claims: () => ({ exclusive: ["host:host-1"] }),
    }),
  ]);
  const first = await fixture.engine.submit("host.work", { name: "a" }, user);
  const second = await fixture.engine.submit("host.work", { name: "b" }, user);
  const removal = await fixture.engine.submit("host.remove", { name: "c" }, user);
  held.resolve();
  for (const { id } of [first, second, removal]) {
    assert.equal((await fixture.engine.wait(id, 5000)).state, "succeeded");
  }
  assert.deepEqual(log.slice(-2), ["remove begins", "remove ends"]);
});

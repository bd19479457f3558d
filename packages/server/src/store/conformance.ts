/** What every store must do, as a suite that each dialect's test runs on its own kind of store. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { newId } from "@innkeeper/contract/id.ts";
import { AppError } from "#core/app-error.ts";
import type { ChangeEntry, Draft, Rollup, Store } from "#store/port.ts";

export interface StoreUnderTest extends AsyncDisposable {
  readonly store: Store;
  /** Closes the store and opens it again on what it kept. */
  reopen(): Promise<Store>;
}

export function eventDraft(message: string): Draft<"event"> {
  return {
    id: newId("event"),
    time: "2026-01-01T00:00:00.000Z",
    type: "test",
    severity: "info",
    message,
    resources: [],
  };
}

export function taskDraft(state: "running" | "succeeded"): Draft<"task"> {
  return {
    id: newId("task"),
    operation: "test.run",
    state,
    cancelRequested: false,
    progress: { done: 0, total: 1, unit: "step" },
    message: "",
    steps: [],
    createdBy: "test",
    createdAt: "2026-01-01T00:00:00.000Z",
  };
}

export function describeStore(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`store: ${name}`, () => {
    describeWrites(open);
    describeRollups(open);
    describeChangeLog(open);
    describeFailure(open);
    describePrune(open);
  });
}

function describeWrites(open: () => Promise<StoreUnderTest>): void {
  test("what is written is read in the transaction, after it, and after reopening", async () => {
    await using under = await open();
    const draft = eventDraft('中文 🙂 \u0000 "quoted"');
    const written = await under.store.transaction(async (transaction) => {
      const written = await transaction.put("event", draft);
      assert.deepEqual(await transaction.get("event", draft.id), written);
      assert.deepEqual(await transaction.list("event"), [written]);
      await transaction.putPrivate("space", "key", { nested: [1, null, "x"] });
      return written;
    });
    assert.deepEqual(written, { ...draft, revision: 1 });
    const store = await under.reopen();
    assert.equal(await store.revision(), 1);
    await store.transaction(async (transaction) => {
      assert.deepEqual(await transaction.get("event", draft.id), written);
      assert.deepEqual(await transaction.getPrivate("space", "key"), { nested: [1, null, "x"] });
      assert.deepEqual(await transaction.listPrivate("space"), [{ key: "key", value: { nested: [1, null, "x"] } }]);
      await transaction.deletePrivate("space", "key");
      assert.equal(await transaction.getPrivate("space", "key"), undefined);
      assert.equal(await transaction.get("vm", draft.id), undefined);
    });
  });

  test("each write has a revision of its own; a write that changes nothing has none", async () => {
    await using under = await open();
    const [first, second] = [eventDraft("first"), eventDraft("second")];
    await under.store.transaction(async (transaction) => {
      assert.equal((await transaction.put("event", first)).revision, 1);
      assert.equal((await transaction.put("event", second)).revision, 2);
      const { message, ...rest } = first;
      assert.equal((await transaction.put("event", { message, ...rest })).revision, 1, "another order of fields");
      assert.equal((await transaction.put("event", { ...first, message: "changed" })).revision, 3);
      assert.equal(await transaction.revision(), 3);
    });
    assert.equal(await under.store.revision(), 3);
  });

  test("ifRevision lets one of two writers win", async () => {
    await using under = await open();
    const draft = eventDraft("original");
    await under.store.transaction((transaction) => transaction.put("event", draft, { ifRevision: 0 }));
    const write = (message: string) =>
      under.store.transaction((transaction) => transaction.put("event", { ...draft, message }, { ifRevision: 1 }));
    const [one, other] = await Promise.allSettled([write("one"), write("other")]);
    assert.equal(one.status, "fulfilled");
    assert.ok(other.status === "rejected" && other.reason instanceof AppError);
    assert.equal(other.reason.code, "precondition_failed");
    assert.equal(await under.store.revision(), 2);
  });
}

function rollup(intervalSeconds: number, part: number, atSeconds: number, content = `${atSeconds}`): Rollup {
  return { intervalSeconds, part, atSeconds, content };
}

function describeRollups(open: () => Promise<StoreUnderTest>): void {
  test("roll-ups are by interval, part and time, the last write counts, old ones go; none is in the change log", async () => {
    await using under = await open();
    await under.store.transaction(async (transaction) => {
      for (const atSeconds of [900, 300, 600, 4_000_000_000]) await transaction.putRollup(rollup(300, 7, atSeconds));
      await transaction.putRollup(rollup(300, 8, 300));
      await transaction.putRollup(rollup(1800, 7, 300));
      await transaction.putRollup(rollup(300, 7, 600, "anew"));
    });
    assert.equal(await under.store.revision(), 0);
    const store = await under.reopen();
    await store.transaction(async (transaction) => {
      const list = (from: number, to: number) => transaction.listRollups(300, 7, from, to);
      assert.deepEqual(await list(300, 900), [rollup(300, 7, 300), rollup(300, 7, 600, "anew")]);
      assert.deepEqual(await list(1000, 5_000_000_000), [rollup(300, 7, 4_000_000_000)]);
      await transaction.deleteRollups(300, 900);
      assert.deepEqual(
        (await list(0, 1000)).map(({ atSeconds }) => atSeconds),
        [900],
      );
      assert.equal((await transaction.listRollups(300, 8, 0, 1000)).length, 0);
      assert.equal((await transaction.listRollups(1800, 7, 0, 1000)).length, 1);
    });
  });
}

function describeChangeLog(open: () => Promise<StoreUnderTest>): void {
  test("the change log tells every write in order, with the document of that revision", async () => {
    await using under = await open();
    const heard: ChangeEntry[] = [];
    const stop = under.store.onCommit((changes) => heard.push(...changes));
    const draft = eventDraft("one");
    await under.store.transaction((transaction) => transaction.put("event", draft));
    assert.equal(heard.length, 1, "heard before the transaction resolved");
    await under.store.transaction(async (transaction) => {
      await transaction.put("event", { ...draft, message: "two" });
      await transaction.delete("event", draft.id);
      await transaction.delete("event", draft.id);
    });
    stop();
    await under.store.transaction((transaction) => transaction.put("event", eventDraft("unheard")));
    const log = await under.store.changesSince(0, 3);
    assert.deepEqual(
      log.map(({ revision, operation, resource }) => [
        revision,
        operation,
        resource && "message" in resource && resource.message,
      ]),
      [
        [1, "put", "one"],
        [2, "put", "two"],
        [3, "delete", undefined],
      ],
    );
    assert.deepEqual(heard, log);
    assert.deepEqual(
      (await under.store.changesSince(3, 10)).map((change) => change.revision),
      [4],
    );
    assert.deepEqual(await under.store.changesSince(4, 10), []);
  });
}

function describeFailure(open: () => Promise<StoreUnderTest>): void {
  test("a transaction that throws leaves nothing, and the next one works", async () => {
    await using under = await open();
    const heard: unknown[] = [];
    under.store.onCommit((changes) => heard.push(changes));
    await assert.rejects(
      under.store.transaction(async (transaction) => {
        await transaction.put("event", eventDraft("lost"));
        await transaction.putPrivate("space", "key", 1);
        throw new Error("planned");
      }),
      /planned/,
    );
    assert.deepEqual(heard, []);
    assert.equal(await under.store.revision(), 0);
    await under.store.transaction(async (transaction) => {
      assert.deepEqual(await transaction.list("event"), []);
      assert.equal(await transaction.getPrivate("space", "key"), undefined);
      assert.equal((await transaction.put("event", eventDraft("kept"))).revision, 1);
    });
  });

  test("transactions run one after another; one inside another is refused instead of waiting for ever", async () => {
    await using under = await open();
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        under.store.transaction(async (transaction) => {
          order.push(index);
          await transaction.put("event", eventDraft(`${index}`));
          await new Promise(setImmediate);
          order.push(index);
        }),
      ),
    );
    assert.deepEqual(
      order,
      Array.from({ length: 40 }, (_, position) => Math.floor(position / 2)),
    );
    await assert.rejects(
      under.store.transaction(() => under.store.transaction(async () => {})),
      /from inside/,
    );
    await under.store.probe();
  });

  test("while many transactions wait, others get their turns", async () => {
    await using under = await open();
    let turns = 0;
    let isOver = false;
    const take = (): void => {
      turns++;
      if (!isOver) setTimeout(take, 0);
    };
    setTimeout(take, 0);
    const spinMs = 5;
    const works = Array.from({ length: 20 }, () =>
      under.store.transaction(async () => {
        for (const startMs = performance.now(); performance.now() - startMs < spinMs;);
      }),
    );
    await Promise.all(works);
    isOver = true;
    assert.ok(turns >= 3, `${turns} turns`);
  });

  test("what was begun inside a transaction may use the store once that has ended", async () => {
    await using under = await open();
    const ended = Promise.withResolvers<void>();
    const { later } = await under.store.transaction(async () => ({
      later: ended.promise.then(() => under.store.revision()),
    }));
    ended.resolve();
    assert.equal(await later, 0);
  });

  test("a transaction that has ended refuses to be used", async () => {
    await using under = await open();
    const late = await under.store.transaction(async (transaction) => ({ transaction }));
    await assert.rejects(late.transaction.put("event", eventDraft("late")), /has ended/);
    assert.equal(await under.store.revision(), 0);
  });
}

function describePrune(open: () => Promise<StoreUnderTest>): void {
  test("pruning keeps the newest events, all tasks that run, and says which revisions are gone", async () => {
    await using under = await open();
    const running = taskDraft("running");
    await under.store.transaction(async (transaction) => {
      await transaction.put("task", running);
      for (let index = 0; index < 5; index++) await transaction.put("task", taskDraft("succeeded"));
      for (let index = 0; index < 1200; index++) await transaction.put("event", eventDraft(`${index}`));
      await transaction.putPrivate("task", running.id, { kept: true });
    });
    await under.store.prune({ changes: 50, events: 10, tasks: 2 });
    await under.store.transaction(async (transaction) => {
      const events = await transaction.list("event");
      assert.deepEqual(
        events.map((event) => Number(event.message)).toSorted((a, b) => a - b),
        Array.from({ length: 10 }, (_, index) => 1190 + index),
      );
      const tasks = await transaction.list("task");
      assert.equal(tasks.filter((task) => task.state === "succeeded").length, 2);
      assert.equal(tasks.filter((task) => task.state === "running").length, 1);
      assert.deepEqual(await transaction.getPrivate("task", running.id), { kept: true });
    });
    const revision = await under.store.revision();
    await assert.rejects(under.store.changesSince(0, 10), { code: "precondition_failed" });
    assert.equal((await under.store.changesSince(revision - 50, 100)).length, 50);
    await under.store.prune({ changes: 0, events: 10, tasks: 2 });
    assert.equal(await under.store.revision(), revision, "revisions never go back");
  });
}

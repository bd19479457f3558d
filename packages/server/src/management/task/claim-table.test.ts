/**
 * Claims: one at a time on a resource, or only those that share it, in order; no more than the limit; nobody waits for
 * ever; an aborted one leaves no trace.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ClaimTable } from "#management/task/claim-table.ts";
import type { Claims } from "#management/task/operation.ts";

const never = new AbortController().signal;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const claimsOf = fc.record({
  exclusive: fc.subarray(["a", "b", "c"]),
  shared: fc.subarray(["a", "b", "c", "d"]),
  limited: fc.subarray([
    { key: "x", max: 1 },
    { key: "y", max: 2 },
  ]),
  rounds: fc.integer({ min: 0, max: 3 }),
  aborts: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
});

test("whatever is claimed: exclusive, shared, limited, in order, and all are served", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(claimsOf, { maxLength: 25 }), async (wanted) => {
      const table = new ClaimTable();
      const held = new Map<string, number>();
      const order = new Map<string, number[]>();
      const sharing = new Map<string, number>();
      const share = (key: string, by: number): void => {
        sharing.set(key, (sharing.get(key) ?? 0) + by);
        assert.equal(held.get(key) ?? 0, 0, `${key} is shared with its exclusive holder`);
      };
      const change = (key: string, by: number, max: number): void => {
        const count = (held.get(key) ?? 0) + by;
        assert.ok(count >= 0 && count <= max, `${key}: ${count}`);
        held.set(key, count);
      };
      const served = await Promise.all(
        wanted.map(async ({ exclusive, shared, limited, rounds, aborts }, index) => {
          const abort = new AbortController();
          const acquired = table.acquire(String(index), { exclusive, shared, limited }, aborts ? abort.signal : never);
          if (aborts) abort.abort();
          const hold = await acquired;
          if (hold === undefined) return aborts;
          const shares = shared.filter((key) => !exclusive.includes(key));
          for (const key of exclusive) {
            change(key, 1, 1);
            assert.equal(sharing.get(key) ?? 0, 0, `${key} is held although it is shared`);
            order.set(key, [...(order.get(key) ?? []), index]);
          }
          for (const key of shares) share(key, 1);
          for (const { key, max } of limited) change(key, 1, max);
          for (let round = 0; round < rounds; round++) await new Promise(setImmediate);
          for (const key of shares) share(key, -1);
          for (const key of exclusive) change(key, -1, 1);
          for (const { key, max } of limited) change(key, -1, max);
          hold.release();
          hold.release();
          return true;
        }),
      );
      assert.ok(served.every(Boolean));
      for (const indexes of order.values())
        assert.deepEqual(
          indexes,
          indexes.toSorted((a, b) => a - b),
        );
    }),
    { numRuns: 200 },
  );
});

test("those who share a resource run at once; one who wants it alone waits for them and goes before those who came later", async () => {
  const table = new ClaimTable();
  const log: string[] = [];
  const run = async (name: string, claims: Claims): Promise<() => void> => {
    const hold = await table.acquire(name, claims, never);
    assert.ok(hold);
    log.push(name);
    return hold.release;
  };
  const readers = await Promise.all(["r1", "r2"].map((name) => run(name, { exclusive: [], shared: ["x"] })));
  const writer = run("w", { exclusive: ["x"] });
  const late = run("r3", { exclusive: [], shared: ["x"] });
  await settle();
  assert.deepEqual(log, ["r1", "r2"]);
  readers[0]?.();
  await settle();
  assert.deepEqual(log, ["r1", "r2"]);
  readers[1]?.();
  const release = await writer;
  await settle();
  assert.deepEqual(log, ["r1", "r2", "w"]);
  release();
  (await late)();
  assert.deepEqual(log, ["r1", "r2", "w", "r3"]);
});

test("what can't wait is refused while a task has what it needs or waits for it, and keeps tasks out while it lasts", async () => {
  const table = new ClaimTable();
  const upload = { exclusive: ["volume"], shared: ["host"] };
  const reader = await table.acquire("task-1", { exclusive: [], shared: ["volume"] }, never);
  assert.throws(() => table.acquireNow("The upload", upload), { code: "conflict", message: /upload.*task-1/ });
  const removal = table.acquire("task-2", { exclusive: ["host"] }, never);
  (await removal)?.release();
  reader?.release();
  const release = table.acquireNow("The upload", upload);
  assert.throws(() => table.acquireNow("Another", upload), { code: "conflict", message: /The upload/ });
  const waiting = table.acquire("task-3", { exclusive: ["host"] }, never);
  const other = table.acquireNow("Another", { exclusive: ["other"] });
  assert.throws(() => table.acquireNow("A third", { exclusive: [], shared: ["host"] }), { message: /task-3/ });
  other();
  release();
  release();
  (await waiting)?.release();
  table.acquireNow("The upload", upload)();
});

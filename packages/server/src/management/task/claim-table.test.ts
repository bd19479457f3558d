/** Claims: one at a time on a resource and in order, no more than the limit, nobody waits for ever, an aborted one leaves no trace. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ClaimTable } from "#management/task/claim-table.ts";

const never = new AbortController().signal;

const claimsOf = fc.record({
  exclusive: fc.subarray(["a", "b", "c"]),
  limited: fc.subarray([
    { key: "x", max: 1 },
    { key: "y", max: 2 },
  ]),
  rounds: fc.integer({ min: 0, max: 3 }),
  aborts: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
});

test("whatever is claimed: exclusive, limited, in order, and all are served", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(claimsOf, { maxLength: 25 }), async (wanted) => {
      const table = new ClaimTable();
      const held = new Map<string, number>();
      const order = new Map<string, number[]>();
      const change = (key: string, by: number, max: number): void => {
        const count = (held.get(key) ?? 0) + by;
        assert.ok(count >= 0 && count <= max, `${key}: ${count}`);
        held.set(key, count);
      };
      const served = await Promise.all(
        wanted.map(async ({ exclusive, limited, rounds, aborts }, index) => {
          const abort = new AbortController();
          const acquired = table.acquire(String(index), { exclusive, limited }, aborts ? abort.signal : never);
          if (aborts) abort.abort();
          const release = await acquired;
          if (release === undefined) return aborts;
          for (const key of exclusive) {
            change(key, 1, 1);
            order.set(key, [...(order.get(key) ?? []), index]);
          }
          for (const { key, max } of limited) change(key, 1, max);
          for (let round = 0; round < rounds; round++) await new Promise(setImmediate);
          for (const key of exclusive) change(key, -1, 1);
          for (const { key, max } of limited) change(key, -1, max);
          release();
          release();
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

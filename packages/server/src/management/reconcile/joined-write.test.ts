import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { AppError } from "#core/app-error.ts";
import { systemClock } from "#core/system-clock.ts";
import { JoinedWrites } from "./joined-write.ts";
import type { Store, StoreTransaction } from "#store/port.ts";

/** A store of nothing: how many writes each of its transactions had, once they have come through. */
function counted(fault?: () => Error | undefined) {
  const commits: number[] = [];
  let works = 0;
  const store: Pick<Store, "transaction"> = {
    async transaction(work) {
      works = 0;
      await Promise.resolve();
      const result = await work({} as StoreTransaction);
      const reason = fault?.();
      if (reason !== undefined) throw reason;
      commits.push(works);
      return result;
    },
  };
  return { writes: new JoinedWrites(store, systemClock), commits, work: async (): Promise<void> => void works++ };
}

test("what comes while one is written goes together", async () => {
  const { writes, commits, work } = counted();
  await Promise.all(Array.from({ length: 301 }, () => writes.run(work)));
  assert.deepEqual(commits, [1, 200, 100]);
  await writes.run(work);
  assert.deepEqual(commits, [1, 200, 100, 1]);
});

test("what may come later goes where there is room", async () => {
  const { writes, commits, work } = counted();
  const order: string[] = [];
  const noted = (name: string) => async (): Promise<void> => {
    order.push(name);
    await work();
  };
  const later = Array.from({ length: 250 }, () => writes.runLater(noted("later")));
  await Promise.all([...later, ...Array.from({ length: 150 }, () => writes.run(noted("first")))]);
  assert.deepEqual(commits, [1, 200, 199]);
  assert.deepEqual([...new Set(order.slice(1, 151))], ["first"]);
});

const bad = (): Promise<void> => Promise.reject(new Error("bad"));

test("one that fails fails by itself", async () => {
  const { writes, work } = counted();
  const ends = await Promise.allSettled([work, work, bad, work].map((each) => writes.run(each)));
  assert.deepEqual(
    ends.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected", "fulfilled"],
  );
});

test("a store that is away is not asked for each", async () => {
  let asked = 0;
  const { writes, work } = counted(() => {
    asked++;
    return new AppError("store_unavailable", "The store is full.");
  });
  const ends = await Promise.allSettled(Array.from({ length: 50 }, () => writes.run(work)));
  assert(ends.every(({ status }) => status === "rejected"));
  assert.equal(asked, 2);
});

test("a commit that took long is not paid for in pauses for minutes", async () => {
  let nowMs = 0;
  let pausedMs = 0;
  let commitMs = 60_000;
  const store: Pick<Store, "transaction"> = {
    async transaction(work) {
      nowMs += commitMs;
      return await work({} as StoreTransaction);
    },
  };
  const clock = {
    monotonicMs: () => nowMs,
    sleep: async (delayMs: number): Promise<void> => {
      nowMs += delayMs;
      pausedMs += delayMs;
    },
  };
  const writes = new JoinedWrites(store, clock);
  for (let index = 0; index < 200; index++) {
    await writes.run(async () => {});
    await turn();
    commitMs = 1;
    nowMs += 20;
  }
  assert.ok(pausedMs > 0 && pausedMs <= 150, `${pausedMs} ms`);
});

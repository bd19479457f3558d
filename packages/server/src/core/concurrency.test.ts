import assert from "node:assert/strict";
import { test } from "node:test";
import { KeyedLock, mapLimited, Turns } from "./concurrency.ts";

test("mapLimited keeps order and never exceeds its limit", async () => {
  let active = 0;
  let most = 0;
  const results = await mapLimited([5, 1, 4, 2, 3], 2, async (item) => {
    most = Math.max(most, ++active);
    for (let turn = 0; turn < item; turn++) await Promise.resolve();
    active--;
    return item * 10;
  });
  assert.deepEqual(results, [50, 10, 40, 20, 30]);
  assert.equal(most, 2);
});

test("mapLimited ends with the first error and starts nothing after it", async () => {
  const started: number[] = [];
  const work = mapLimited([1, 2, 3, 4], 1, async (item) => {
    started.push(item);
    if (item === 2) throw new Error("two");
    return item;
  });
  await assert.rejects(work, /two/);
  assert.deepEqual(started, [1, 2]);
});

test("KeyedLock runs one key in order, others at the same time, and survives errors", async () => {
  const lock = new KeyedLock();
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = lock.run("a", async () => {
    log.push("a1 begins");
    await gate.promise;
    log.push("a1 ends");
    throw new Error("a1");
  });
  const second = lock.run("a", async () => void log.push("a2"));
  await lock.run("b", async () => void log.push("b"));
  gate.resolve();
  await assert.rejects(first, /a1/);
  await second;
  assert.deepEqual(log, ["a1 begins", "b", "a1 ends", "a2"]);
});

test("Turns come in order, a few at a time; what hangs gives its turn back", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const turns = new Turns(1, 1000);
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  const hung = turns.run(async () => {
    log.push("hung begins");
    await gate.promise;
    log.push("hung ends");
  });
  const failed = assert.rejects(
    turns.run(() => Promise.reject(new Error("bad"))),
    /bad/,
  );
  const last = turns.run(async () => void log.push("last"));
  const urgent = turns.run(async () => void log.push("urgent"), true);
  await Promise.resolve();
  assert.deepEqual(log, ["hung begins"]);
  context.mock.timers.tick(1000);
  await Promise.all([failed, last, urgent]);
  gate.resolve();
  await hung;
  await turns.run(async () => void log.push("again"));
  assert.deepEqual(log, ["hung begins", "urgent", "last", "hung ends", "again"]);
});

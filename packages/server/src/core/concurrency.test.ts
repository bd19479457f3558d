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
  const { signal } = new AbortController();
  const hung = turns.run(
    async () => {
      log.push("hung begins");
      await gate.promise;
      log.push("hung ends");
    },
    { signal },
  );
  const failed = assert.rejects(
    turns.run(() => Promise.reject(new Error("bad")), { signal }),
    /bad/,
  );
  const last = turns.run(async () => void log.push("last"), { signal });
  const urgent = turns.run(async () => void log.push("urgent"), { signal, goesFirst: true });
  await Promise.resolve();
  assert.deepEqual(log, ["hung begins"]);
  context.mock.timers.tick(1000);
  await Promise.all([failed, last, urgent]);
  gate.resolve();
  await hung;
  await turns.run(async () => void log.push("again"), { signal });
  assert.deepEqual(log, ["hung begins", "urgent", "last", "hung ends", "again"]);
});

test("who waits for a turn leaves at once when its signal aborts; the others keep their order", async () => {
  const turns = new Turns(1, 60_000);
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  const { signal } = new AbortController();
  const stop = new AbortController();
  const note = (word: string) => async () => void log.push(word);
  const first = turns.run(() => gate.promise, { signal });
  const second = turns.run(note("second"), { signal });
  const left = turns.run(note("left"), { signal: stop.signal });
  const third = turns.run(note("third"), { signal });
  stop.abort(new Error("gone"));
  await assert.rejects(left, /gone/);
  await assert.rejects(turns.run(note("late"), { signal: stop.signal }), /gone/);
  gate.resolve();
  await Promise.all([first, second, third]);
  assert.deepEqual(log, ["second", "third"]);
});

test("a turn that was given is not lost to an abort in the same moment, nor taken from another", async () => {
  const turns = new Turns(1, 60_000);
  const gate = Promise.withResolvers<void>();
  const { signal } = new AbortController();
  const stop = new AbortController();
  const first = turns.run(() => gate.promise, { signal });
  const given = turns.run(async () => stop.abort(), { signal });
  const next = turns.run(async () => "next", { signal: stop.signal });
  const last = turns.run(async () => "last", { signal });
  gate.resolve();
  await Promise.all([first, given, assert.rejects(next)]);
  assert.equal(await last, "last");
});

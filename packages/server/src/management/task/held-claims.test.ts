/** What a task claims besides, as it runs: at once, or given back and waited for; never two that wait for each other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ClaimTable } from "#management/task/claim-table.ts";
import { HeldClaims } from "#management/task/held-claims.ts";
import type { Claims } from "#management/task/operation.ts";

const never = new AbortController().signal;
const claims = (exclusive: string[], shared: string[] = []): Claims => ({ exclusive, shared });
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** At how many of them it had to wait. */
let waits = 0;
const onWait = async (): Promise<void> => void waits++;

function heldBy(table: ClaimTable, id: string, own: Claims): HeldClaims {
  return new HeldClaims(table, { id, createdBy: "tester" }, { claims: own });
}
async function holding(table: ClaimTable, id: string, own: Claims): Promise<HeldClaims> {
  const held = heldBy(table, id, own);
  assert.equal(await held.acquire(never), true);
  return held;
}
function isFree(table: ClaimTable, wanted: Claims): boolean {
  try {
    table.acquireNow("it", wanted)();
    return true;
  } catch {
    return false;
  }
}
const isKeyFree = (table: ClaimTable, key: string): boolean => isFree(table, claims([key]));

test("what is free is had at once, counted once, and given back with the rest", async () => {
  const table = new ClaimTable();
  const limited = [{ key: "copy on h", max: 1 }];
  const place = { ...claims([], ["h"]), limited };
  const held = await holding(table, "a", { ...claims(["vm"]), limited: [{ key: "task", max: 2 }] });
  waits = 0;
  assert.equal(await held.choose(place, never, onWait), true);
  assert.equal(await held.choose(place, never, onWait), true);
  assert.equal(waits, 0);
  assert.deepEqual(held.chosen, place);
  assert.deepEqual([isKeyFree(table, "h"), isKeyFree(table, "vm")], [false, false]);
  const other = await holding(table, "b", claims(["vm2"]));
  const later = other.choose(place, never, onWait);
  await settled();
  assert.equal(waits, 1, "the limit");
  held.release();
  held.release();
  assert.equal(await later, false);
  assert.equal(isKeyFree(table, "vm"), true);
  other.release();
  assert.equal(isKeyFree(table, "h"), true);
});

test("of the places that it chose it holds the last, also when it waited for one, and after a restart", async () => {
  const table = new ClaimTable();
  const place = (host: string): Claims => ({ ...claims([], [host]), limited: [{ key: `copy on ${host}`, max: 1 }] });
  const busy = await holding(table, "busy", place("h1"));
  const held = await holding(table, "a", claims(["vm"]));
  const chosen = held.choose(place("h1"), never, onWait);
  busy.release();
  assert.equal(await chosen, false, "it chooses anew");
  assert.equal(await held.choose(place("h2"), never, onWait), true);
  assert.deepEqual(
    ["h1", "h2"].map((host) => [isKeyFree(table, host), isFree(table, place(host))]),
    [
      [true, true],
      [false, false],
    ],
  );
  held.release();
  const { own, chosen: stored } = held;
  const again = new HeldClaims(table, { id: "a", createdBy: "tester" }, { claims: own, chosen: stored });
  assert.equal(await again.acquire(never), true);
  assert.deepEqual([isFree(table, place("h2")), isKeyFree(table, "vm")], [false, false]);
  assert.equal(await again.choose(place("h3"), never, onWait), true);
  assert.deepEqual([isKeyFree(table, "h2"), isKeyFree(table, "h3")], [true, false]);
});

test("hosts that nobody has for himself are not waited for, those that somebody has are, and none is kept", async () => {
  const table = new ClaimTable();
  const held = await holding(table, "a", claims(["vm"]));
  waits = 0;
  assert.equal(await held.untilFree(["h1", "h2"], never, onWait), false);
  assert.deepEqual([waits, isKeyFree(table, "h1"), isKeyFree(table, "vm")], [0, true, false]);
  const reconnect = await holding(table, "reconnect", claims(["h2"]));
  const until = held.untilFree(["h1", "h2"], never, onWait);
  await settled();
  assert.equal(waits, 1);
  reconnect.release();
  assert.equal(await until, true);
  assert.deepEqual([isKeyFree(table, "h1"), isKeyFree(table, "h2"), isKeyFree(table, "vm")], [true, true, false]);
});

test("at rest it counts for no limit of those at work, for all others, and holds what it claims", async () => {
  const table = new ClaimTable();
  const atWork = { key: "task", max: 1, onlyAtWork: true as const };
  const onHost = { key: "task on h", max: 1 };
  const held = await holding(table, "a", { ...claims(["vm"]), limited: [atWork, onHost] });
  const areFree = () => [[atWork], [onHost]].map((limited) => isFree(table, { ...claims([]), limited }));
  assert.deepEqual(areFree(), [false, false]);
  const goOn = held.pause();
  assert.deepEqual([areFree(), isKeyFree(table, "vm")], [[true, false], false]);
  await goOn(never, onWait);
  assert.deepEqual(areFree(), [false, false], "it counts again");
  held.release();
  assert.deepEqual(areFree(), [true, true]);
});

test("back at work it waits for a place: no more than the limit, before those that have not begun", async () => {
  const table = new ClaimTable();
  const own = (id: string): Claims => ({
    ...claims([id]),
    limited: [{ key: "start", max: 2, onlyAtWork: true }],
  });
  const away: HeldClaims[] = [];
  const returns: (() => Promise<void>)[] = [];
  const log: string[] = [];
  for (const id of ["a", "b", "c", "d"]) {
    const held = await holding(table, id, own(id));
    const goOn = held.pause();
    away.push(held);
    returns.push(() => goOn(never, onWait).then(() => void log.push(id)));
  }
  const fresh = await Promise.all(["x", "y"].map((id) => holding(table, id, own(id))));
  const late = heldBy(table, "z", own("z"));
  const lateHas = late.acquire(never).then(() => void log.push("z"));
  waits = 0;
  const back = returns.map((each) => each());
  await settled();
  assert.deepEqual([log, waits], [[], 4], "the two places are had, and it is told");
  fresh[0]?.release();
  await settled();
  assert.equal(log.length, 1);
  fresh[1]?.release();
  await settled();
  assert.equal(log.length, 2);
  for (const held of away) {
    held.release();
    await settled();
  }
  await Promise.all([...back, lateHas]);
  assert.equal(log.at(-1), "z");
  late.release();
  assert.equal(isFree(table, { ...claims(["a", "b", "c", "d", "z"]), limited: [{ key: "start", max: 1 }] }), true);
});

test("what has begun comes before what has not, of whichever user", async () => {
  const table = new ClaimTable();
  const limited = [{ key: "start", max: 1, onlyAtWork: true as const }];
  const log: string[] = [];
  const hold = async (id: string, createdBy: string): Promise<HeldClaims> => {
    const held = new HeldClaims(table, { id, createdBy }, { claims: { ...claims([id]), limited } });
    assert.equal(await held.acquire(never), true);
    return held;
  };
  const resting: HeldClaims[] = [];
  const returns: (() => Promise<void>)[] = [];
  for (const id of ["a1", "a2", "a3"]) {
    const held = await hold(id, "alice");
    const goOn = held.pause();
    resting.push(held);
    returns.push(() => goOn(never, onWait).then(() => void log.push(id)));
  }
  const bob = await hold("b1", "bob");
  const later = ["b2", "b3"].map(async (id) => {
    const held = await hold(id, "bob");
    log.push(id);
    held.release();
  });
  const back = returns.map((each) => each());
  await settled();
  bob.release();
  for (const held of resting) {
    await settled();
    held.release();
  }
  await Promise.all([...back, ...later]);
  assert.deepEqual(log, ["a1", "a2", "a3", "b2", "b3"]);
});

test("who is cancelled as it waits to be back at work goes on to its end, and leaves nothing", async () => {
  const table = new ClaimTable();
  const limited = [{ key: "start", max: 1, onlyAtWork: true as const }];
  const held = await holding(table, "a", { ...claims(["vm"]), limited });
  const goOn = held.pause();
  const other = await holding(table, "b", { ...claims(["vm2"]), limited });
  const abort = new AbortController();
  const back = goOn(abort.signal, onWait);
  abort.abort();
  await back;
  held.release();
  assert.deepEqual([isKeyFree(table, "vm"), isFree(table, { ...claims([]), limited })], [true, false]);
  other.release();
  assert.equal(isFree(table, { ...claims([]), limited }), true);
});

test("who has to wait holds nothing meanwhile, and comes after those that asked before", async () => {
  const table = new ClaimTable();
  const owner = await holding(table, "owner", claims([], ["h"]));
  const order: string[] = [];
  const alone = heldBy(table, "alone", claims(["h"]));
  const aloneHas = alone.acquire(never).then(() => order.push("alone"));
  const late = await holding(table, "late", claims(["vm"]));
  const lateHas = late.choose(claims([], ["h"]), never, onWait).then((wasFree) => {
    assert.equal(wasFree, false, "somebody asked for it alone before");
    order.push("late");
  });
  await settled();
  assert.equal(isKeyFree(table, "vm"), false, "it is asked for");
  const quick = await holding(table, "quick", claims(["x"]));
  quick.release();
  owner.release();
  await aloneHas;
  alone.release();
  await lateHas;
  assert.deepEqual(order, ["alone", "late"]);
});

test("two that want what the other has both get it, one after the other", async () => {
  const table = new ClaimTable();
  const [a, b] = await Promise.all([holding(table, "a", claims(["a"])), holding(table, "b", claims(["b"]))]);
  const aHas = a.choose(claims(["b"]), never, onWait);
  const bHas = b.choose(claims(["a"]), never, onWait);
  assert.equal(await aHas, false);
  a.release();
  assert.equal(await bHas, false);
});

test("one that is aborted as it waits holds nothing", async () => {
  const table = new ClaimTable();
  const owner = await holding(table, "owner", claims(["h"]));
  const held = await holding(table, "a", claims(["vm"]));
  const abort = new AbortController();
  const waiting = held.choose(claims(["h"]), abort.signal, onWait);
  await settled();
  abort.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  assert.equal(isKeyFree(table, "vm"), true);
  owner.release();
  assert.equal(isKeyFree(table, "h"), true);
});

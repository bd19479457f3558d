/** Claims that a task takes besides, as it runs: at once, or given back and waited for; never two that wait for each other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ClaimTable } from "#management/task/claim-table.ts";
import { HeldClaims } from "#management/task/held-claims.ts";
import type { Claims } from "#management/task/operation.ts";

const never = new AbortController().signal;
const claims = (exclusive: string[], shared: string[] = []): Claims => ({ exclusive, shared });

async function holding(table: ClaimTable, id: string, own: Claims): Promise<HeldClaims> {
  const held = new HeldClaims(table, { id, createdBy: "tester" }, own);
  assert.equal(await held.acquire(never), true);
  return held;
}
const isFree = (table: ClaimTable, key: string): boolean => {
  const release = table.tryAcquire("other", claims([key]));
  release?.();
  return release !== undefined;
};

test("what is free is had at once, counted once, and given back with the rest", async () => {
  const table = new ClaimTable();
  const limited = [{ key: "copy on h", max: 1 }];
  const held = await holding(table, "a", { ...claims(["vm"]), limited: [{ key: "task", max: 2 }] });
  assert.equal(held.tryExtend({ ...claims([], ["h"]), limited }), true);
  assert.equal(held.tryExtend({ ...claims([], ["h"]), limited }), true);
  assert.deepEqual(held.claims, { ...claims(["vm"], ["h"]), limited: [{ key: "task", max: 2 }, ...limited] });
  assert.deepEqual([isFree(table, "h"), isFree(table, "vm")], [false, false]);
  const other = await holding(table, "b", claims(["vm2"]));
  assert.equal(other.tryExtend({ ...claims([], ["h"]), limited }), false, "the limit");
  held.release();
  held.release();
  assert.deepEqual([isFree(table, "h"), isFree(table, "vm")], [true, true]);
  assert.equal(other.tryExtend({ ...claims([], ["h"]), limited }), true);
});

test("at rest it counts for no limit of those at work, for all others, and holds what it claims", async () => {
  const table = new ClaimTable();
  const atWork = { key: "task", max: 1, onlyAtWork: true as const };
  const onHost = { key: "task on h", max: 1 };
  const held = await holding(table, "a", { ...claims(["vm"]), limited: [atWork, onHost] });
  const tries = () => [[atWork], [onHost]].map((limited) => table.tryAcquire("b", { ...claims([]), limited }));
  assert.deepEqual(tries(), [undefined, undefined]);
  const goOn = held.pause();
  const [release, refused] = tries();
  assert.ok(release);
  assert.equal(refused, undefined);
  assert.equal(isFree(table, "vm"), false);
  goOn();
  release();
  assert.deepEqual(tries(), [undefined, undefined], "it counts again");
  held.release();
  assert.ok(tries().every((each) => each !== undefined));
});

test("who has to wait holds nothing meanwhile, and comes after those that asked before", async () => {
  const table = new ClaimTable();
  const owner = await holding(table, "owner", claims([], ["h"]));
  const order: string[] = [];
  const alone = new HeldClaims(table, { id: "alone", createdBy: "tester" }, claims(["h"]));
  const aloneHas = alone.acquire(never).then(() => order.push("alone"));
  const late = await holding(table, "late", claims(["vm"]));
  assert.equal(late.tryExtend(claims([], ["h"])), false, "somebody asked for it alone before");
  const lateHas = late.exchange(claims([], ["h"]), never).then(() => order.push("late"));
  assert.equal(isFree(table, "vm"), false, "it is asked for");
  const quick = new HeldClaims(table, { id: "quick", createdBy: "tester" }, claims(["x"]));
  assert.equal(await quick.acquire(never), true);
  owner.release();
  await aloneHas;
  alone.release();
  await lateHas;
  assert.deepEqual(order, ["alone", "late"]);
});

test("two that want what the other has both get it, one after the other", async () => {
  const table = new ClaimTable();
  const [a, b] = await Promise.all([holding(table, "a", claims(["a"])), holding(table, "b", claims(["b"]))]);
  assert.deepEqual([a.tryExtend(claims(["b"])), b.tryExtend(claims(["a"]))], [false, false]);
  const aHas = a.exchange(claims(["b"]), never);
  const bHas = b.exchange(claims(["a"]), never);
  assert.equal(await aHas, true);
  a.release();
  assert.equal(await bHas, true);
});

test("one that is aborted as it waits holds nothing", async () => {
  const table = new ClaimTable();
  const owner = await holding(table, "owner", claims(["h"]));
  const held = await holding(table, "a", claims(["vm"]));
  const abort = new AbortController();
  const waits = held.exchange(claims(["h"]), abort.signal);
  abort.abort();
  assert.equal(await waits, false);
  assert.equal(isFree(table, "vm"), true);
  owner.release();
  assert.equal(isFree(table, "h"), true);
});

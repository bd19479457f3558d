import assert from "node:assert/strict";
import { test } from "node:test";
import { WorkQueue } from "./work-queue.ts";

test("joins what waits, repeats what runs, keeps to its limit", async () => {
  const queue = new WorkQueue(1);
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = queue.add("a", async () => {
    await gate.promise;
    log.push("a1");
  });
  const again = queue.add("a", async () => void log.push("a2"));
  const joined = queue.add("a", async () => void log.push("never"));
  const other = queue.add("b", async () => void log.push("b"));
  assert.equal(again, joined);
  assert.notEqual(first, again);
  gate.resolve();
  await Promise.all([first, again, joined, other]);
  assert.deepEqual(log, ["a1", "a2", "b"]);
});

test("an error ends its own piece alone", async () => {
  const queue = new WorkQueue(1);
  await assert.rejects(
    queue.add("a", async () => {
      throw new Error("a");
    }),
    /a/,
  );
  await queue.add("a", async () => undefined);
});

test("what settles is joined, and keeps nobody from a turn", async () => {
  const queue = new WorkQueue(1);
  const log: string[] = [];
  const settled = Promise.withResolvers<void>();
  const burst = queue.add(
    "a",
    async () => void log.push("a"),
    () => settled.promise,
  );
  await queue.add("b", async () => void log.push("b"));
  const joined = queue.add("a", async () => void log.push("never"));
  settled.resolve();
  await Promise.all([burst, joined]);
  assert.deepEqual(log, ["b", "a"]);
});

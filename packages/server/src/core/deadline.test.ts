import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { within } from "./deadline.ts";

const untilAborted = ({ signal }: { readonly signal: AbortSignal }): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

test("a deadline ends the call, and is forgotten with it", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { signal } = new AbortController();
  assert.equal(await within(signal, 1000, async () => 1), 1);
  const late = assert.rejects(within(signal, 1000, untilAborted), { name: "TimeoutError" });
  context.mock.timers.tick(1000);
  await late;
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("the signal ends the call, also one that was aborted before", async () => {
  const stop = new AbortController();
  const ended = assert.rejects(within(stop.signal, 60_000, untilAborted), /enough/);
  stop.abort(new Error("enough"));
  await ended;
  await assert.rejects(
    within(stop.signal, 60_000, async ({ signal }) => signal.throwIfAborted()),
    /enough/,
  );
});

/** What could not be stored is tried again until it can, and is never taken for stored. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { silentLogger } from "#core/log.ts";
import { VirtualClock } from "#core/test-support/virtual-clock.ts";
import { untilStored } from "./store-retry.ts";

const bad = () => Promise.reject(new Error("bad"));
const storeAway = () => Promise.reject(new AppError("store_unavailable", "away"));

test("the store comes back: it is tried until then; other errors are told at once", async () => {
  const clock = new VirtualClock();
  const { signal } = new AbortController();
  let tries = 0;
  const stored = untilStored(
    { clock, log: silentLogger },
    "it",
    () => (++tries < 4 ? storeAway() : Promise.resolve()),
    signal,
  );
  await clock.pass(60_000);
  await stored;
  assert.equal(tries, 4);
  await assert.rejects(untilStored({ clock, log: silentLogger }, "it", bad, signal), /bad/);
});

test("an abort before it worked is an error, also when nothing was tried", async () => {
  const clock = new VirtualClock();
  const over = new AbortController();
  const given = assert.rejects(untilStored({ clock, log: silentLogger }, "it", storeAway, over.signal), /too late/);
  await clock.pass(1000);
  over.abort(new Error("too late"));
  await given;
  let isTried = false;
  const work = async (): Promise<void> => void (isTried = true);
  await assert.rejects(untilStored({ clock, log: silentLogger }, "it", work, over.signal), /too late/);
  assert.equal(isTried, false);
});

/** Back-off doubles up to its cap, with jitter, and ends. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { brief, mustSucceed, nextDelayMs, once } from "#management/task/retry.ts";

const middle = (): number => 0.5;

test("what may pass by itself is tried for long, a bug briefly, each with a limit", () => {
  const gone = new AppError("host_unreachable", "gone");
  const delays: number[] = [];
  for (let tries = 1; ; tries++) {
    const delayMs = nextDelayMs(mustSucceed, tries, gone, middle);
    if (delayMs === undefined) break;
    delays.push(delayMs);
  }
  assert.deepEqual(delays.slice(0, 4), [500, 1000, 2000, 4000]);
  assert.equal(delays.at(-1), 60_000);
  const minutes = delays.reduce((sum, delay) => sum + delay, 0) / 60_000;
  assert.ok(minutes > 20 && minutes < 30, `${minutes}`);
  const briefMs = [1, 2, 3, 4, 5, 6].map((tries) => nextDelayMs(brief, tries, gone, middle) ?? 0);
  assert.equal(
    briefMs.reduce((sum, delayMs) => sum + delayMs, 0),
    31_500,
  );
  assert.equal(nextDelayMs(brief, 7, gone), undefined);
  assert.equal(nextDelayMs(mustSucceed, 3, new Error("bug")), undefined);
  assert.equal(nextDelayMs(once, 1, gone), undefined);
  const jittered = nextDelayMs(mustSucceed, 1, gone) ?? 0;
  assert.ok(jittered >= 375 && jittered <= 625);
});

// What a migration's time and pause come from: memory, dirty rate, bandwidth, permitted pause, throttling.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { HostClock, VirtualClock } from "#host/clock.ts";
import { Transfer } from "./transfer.ts";
import type { TransferPlan } from "./transfer.ts";

const MB = 1_000_000;
const PLAN = {
  memoryBytes: 1_000 * MB,
  diskBytes: 0,
  bandwidthBytesPerS: 100 * MB,
  maxDowntimeMs: 300,
  isAutoConverge: false,
};

interface Trial {
  readonly clock: VirtualClock;
  readonly transfer: Transfer;
  /** NaN until it is over. */
  tookMs: number;
}

function begin(plan: Partial<TransferPlan>, dirtyMbPerS: number): Trial {
  const clock = new VirtualClock();
  const dirtyBytesPerS = (): number => dirtyMbPerS * MB;
  const transfer = new Transfer(new HostClock(clock), { ...PLAN, ...plan, dirtyBytesPerS }, () => undefined);
  const trial: Trial = { clock, transfer, tookMs: Number.NaN };
  void transfer
    .untilSwitch()
    .then(() => transfer.finish())
    .then(() => (trial.tookMs = transfer.elapsedMs));
  return trial;
}

/** In milliseconds; NaN when it is not over within a day. */
async function measure(plan: Partial<TransferPlan>, dirtyMbPerS: number): Promise<[tookMs: number, pauseMs: number]> {
  const trial = begin(plan, dirtyMbPerS);
  await trial.clock.advance(86_400_000);
  return [Math.round(trial.tookMs), trial.transfer.downtimeMs];
}

describe("transfer of memory", () => {
  test("an idle guest: its memory once, and a pause for the handing over alone", async () => {
    assert.deepEqual(await measure({}, 0), [10_020, 20]);
    assert.deepEqual(await measure({ memoryBytes: 4_000 * MB }, 0), [40_020, 20]);
    assert.deepEqual(await measure({ bandwidthBytesPerS: 1_000 * MB }, 0), [1_020, 20]);
  });

  test("a busy guest: each pass sends what was changed during the one before, the last one with the guest paused", async () => {
    // 10 s, of which 100 MB are new; 1 s, of which 10 MB are new; those in 100 ms of pause.
    assert.deepEqual(await measure({}, 10), [11_120, 120]);
    // 10 s, 5 s … 0.3125 s, each half of the one before: the rest would take 156 ms, and fits.
    assert.deepEqual(await measure({}, 50), [19_864, 176]);
    // The same with a shorter permitted pause takes longer, with a longer one less.
    const [longer, shortPause] = await measure({ maxDowntimeMs: 30 }, 50);
    const [shorter, longPause] = await measure({ maxDowntimeMs: 2_000 }, 50);
    assert.ok(longer > 19_864 && shortPause <= 50, `${longer} ${shortPause}`);
    assert.ok(shorter < 19_864 && longPause > 176, `${shorter} ${longPause}`);
    // More bandwidth shortens both.
    const [quick, quickPause] = await measure({ bandwidthBytesPerS: 200 * MB }, 50);
    assert.ok(quick < 8_000 && quickPause < 320, `${quick} ${quickPause}`);
  });

  test("disks go first, and the memory that is changed meanwhile costs nothing", async () => {
    assert.deepEqual(await measure({ diskBytes: 500 * MB }, 10), [16_120, 120]);
  });

  test("a guest that changes more than the wire carries never goes over, unless it may be paused for longer", async () => {
    const trial = begin({}, 150);
    await trial.clock.advance(86_400_000);
    assert.ok(Number.isNaN(trial.tookMs) && trial.transfer.iteration > 1_000);
    trial.transfer.maxDowntimeMs = 20_000;
    await trial.clock.advance(60_000);
    assert.equal(trial.transfer.downtimeMs, 10_020);
    assert.ok(trial.tookMs > 0);
  });

  test("auto-converge slows the guest step by step until it goes over, and tells by how much", async () => {
    const trial = begin({ isAutoConverge: true }, 150);
    await trial.clock.advance(11_000);
    assert.equal(trial.transfer.figures()["auto_converge_throttle"], 20);
    await trial.clock.advance(86_400_000);
    assert.ok(trial.tookMs > 20_000 && trial.tookMs < 600_000, `${trial.tookMs}`);
    assert.ok(trial.transfer.downtimeMs <= 320, `${trial.transfer.downtimeMs}`);
    const throttle = Number(trial.transfer.figures()["auto_converge_throttle"]);
    assert.ok(throttle > 30 && throttle <= 99, `${throttle}`);
  });

  test("another limit counts from the moment in which it is set", async () => {
    const slower = begin({}, 0);
    await slower.clock.advance(9_000);
    slower.transfer.bandwidthBytesPerS = 10 * MB;
    assert.equal(slower.transfer.figures()["memory_processed"], BigInt(900 * MB));
    await slower.clock.advance(60_000);
    assert.equal(Math.round(slower.tookMs), 19_020);
    const faster = begin({}, 0);
    await faster.clock.advance(1_000);
    faster.transfer.bandwidthBytesPerS = 900 * MB;
    await faster.clock.advance(60_000);
    assert.equal(Math.round(faster.tookMs), 2_020);
  });
});

// Real time at any pace, and that a machine whose clock is set does not shake the simulation.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { HostClock, RealClock, wait } from "./clock.ts";

describe("real clock", () => {
  test("runs as many times faster as it is told, and what is scheduled comes as much sooner", async (context) => {
    const now = context.mock.method(performance, "now", () => 5_000);
    context.mock.timers.enable({ apis: ["setTimeout"] });
    using clock = new RealClock(60);
    const startMs = clock.nowMs();
    const seen: string[] = [];
    clock.schedule(3_600_000, () => seen.push("an hour"));
    const waiting = wait(clock, 60_000).then(() => seen.push("a minute"));
    now.mock.mockImplementation(() => 6_000);
    assert.equal(clock.nowMs() - startMs, 60_000);
    context.mock.timers.tick(1_000);
    await waiting;
    assert.deepEqual(seen, ["a minute"]);
    context.mock.timers.tick(59_000);
    assert.deepEqual(seen, ["a minute", "an hour"]);
  });

  test("does not jump when the machine's clock does; a host's own wall clock jumps when it is told to", (context) => {
    using base = new RealClock();
    const clock = new HostClock(base);
    const steadyMs = clock.steadyMs();
    context.mock.method(Date, "now", () => steadyMs + 3_600_000);
    assert.ok(clock.steadyMs() - steadyMs < 60_000);
    clock.offsetMs = -3_600_000;
    assert.ok(clock.nowMs() < steadyMs - 3_000_000);
    assert.ok(clock.steadyMs() >= steadyMs);
  });

  test("what was scheduled happens no more once it is disposed of", (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const clock = new RealClock(2);
    let happened = 0;
    clock.schedule(1_000, () => (happened += 1));
    clock[Symbol.dispose]();
    context.mock.timers.tick(10_000);
    assert.equal(happened, 0);
  });
});

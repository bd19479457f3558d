/** When a host's parts are read, by virtual time; which of the real parts of a host that is, the lab's tests tell. */
import assert from "node:assert/strict";
import { EventEmitter, on } from "node:events";
import { test } from "node:test";
import { Turns } from "#core/concurrency.ts";
import { silentLogger } from "#core/log.ts";
import { VirtualClock } from "#core/test-support/virtual-clock.ts";
import type { HostReconciler } from "./host-reconciler.ts";
import { defaultWatchOptions, HostWatch } from "./host-watch.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";

const minuteMs = 60_000;

function fixture(turns = new Turns(16, 60_000)) {
  const clock = new VirtualClock();
  const deepAtMs: number[] = [];
  const broken = new Set<string>();
  const read = (what: string) => async () => {
    if (broken.has(what)) throw new Error(`${what} can't be read`);
  };
  const reconciler = {
    turns,
    guest: { syncAll: read("guests") },
    network: { syncAll: read("networks") },
    storage: {
      async syncAll(_hostId: string, { refresh }: { refresh: boolean }) {
        if (refresh) deepAtMs.push(clock.monotonicMs());
        await read("storage")();
      },
    },
    hardware: { syncUsage: read("load"), syncHardware: read("hardware") },
  } as unknown as HostReconciler;
  const events = { events: (signal: AbortSignal) => on(new EventEmitter(), "never", { signal }) };
  const deps = {
    clock,
    log: silentLogger,
    inventory: { count: () => 1, byHost: () => [] },
    providers: { find: () => ({ guest: events, network: events, storage: { pool: events } }) },
  } as unknown as ReconcileDeps;
  const stop = new AbortController();
  const ended = new HostWatch(deps, reconciler, "host-1", defaultWatchOptions).run(stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await ended;
  };
  return { clock, deepAtMs, broken, end, [Symbol.asyncDispose]: end };
}

test("images and hardware are read at first and every ten minutes; sooner after a part could not be", async () => {
  await using under = fixture();
  under.broken.add("hardware");
  await under.clock.pass(minuteMs);
  assert.equal(under.deepAtMs.length, 1);
  under.broken.clear();
  await under.clock.pass(2 * minuteMs);
  assert.equal(under.deepAtMs.length, 2, "long before its interval, but not at once");
  await under.clock.pass(8 * minuteMs);
  assert.equal(under.deepAtMs.length, 2);
  await under.clock.pass(3 * minuteMs);
  assert.equal(under.deepAtMs.length, 3);
});

test("a watch whose pass waits for its turn ends at once", async () => {
  const turns = new Turns(1, 60_000);
  const gate = Promise.withResolvers<void>();
  const other = turns.run(() => gate.promise, { signal: new AbortController().signal });
  const under = fixture(turns);
  await under.clock.pass(minuteMs);
  await under.end();
  assert.deepEqual(under.deepAtMs, []);
  gate.resolve();
  await other;
});

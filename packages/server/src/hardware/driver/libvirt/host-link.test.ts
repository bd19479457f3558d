/** The link's back-off by a clock of its own: a day in a moment, nothing left behind, no daemon asked without pause. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { describe, type MockTracker, test } from "node:test";
import { fakeServer, procedureName } from "@innkeeper/libvirt/testing/fake-server.ts";
import { held } from "@innkeeper/libvirt/testing/resource.ts";
import type { Clock } from "#core/clock.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import { longDeadlineMs, onConnection } from "#libvirt/session.ts";
import { LibvirtHostLink } from "./host-link.ts";
import { ReconnectPace } from "./reconnect-pace.ts";

const dayMs = 86_400_000;
const maxMs = 30_000;
/** Code, pools and caches come into being. */
const warmUpMs = dayMs / 24;
const growthBytes = 2_000_000;

/** Sleeping is all that takes time. */
class SleepClock implements Clock {
  readonly delays: number[] = [];
  #ms = 0;
  #wake: { readonly atMs: number; readonly resolve: () => void } | undefined;

  now(): number {
    return this.#ms;
  }

  monotonicMs(): number {
    return this.#ms;
  }

  async sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.delays.push(delayMs);
    this.#ms += delayMs;
    if (this.#wake !== undefined && this.#ms >= this.#wake.atMs) this.#wake.resolve();
    await turn();
  }

  async until(atMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = { atMs, resolve };
    await promise;
  }
}

/** A free port, where nobody listens. */
async function closedPort(): Promise<number> {
  await using server = createServer();
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Heap, handles and descriptors after an hour and after a day are the same. */
async function leavesNothing(uri: string): Promise<{ delays: readonly number[]; detail: string }> {
  const clock = new SleepClock();
  const link = new LibvirtHostLink({ uri }, { clock, log: silentLogger, allowPlainTcp: false });
  await clock.until(warmUpMs);
  const before = await held();
  await clock.until(dayMs);
  const later = await held();
  const { detail } = link.status;
  await link[Symbol.asyncDispose]();
  const grownBytes = later.heapBytes - before.heapBytes;
  assert.ok(grownBytes < growthBytes, `${grownBytes} bytes more after ${clock.delays.length} attempts`);
  assert.ok(later.descriptorCount - before.descriptorCount <= 4, "file descriptors");
  return { delays: clock.delays, detail };
}

function assertBackOff(delays: readonly number[]): void {
  for (const [index, delayMs] of delays.entries()) {
    const fullMs = Math.min(maxMs, 500 * 2 ** index);
    assert.ok(delayMs >= fullMs / 2 && delayMs <= fullMs, `pause ${index}: ${delayMs} ms`);
  }
  assert.ok(delays.length > 2_880 && delays.length < 5_800, `${delays.length} attempts a day`);
  assert.ok(new Set(delays.slice(10).map(Math.round)).size > 1_000, "no two hosts are asked in step");
}

describe("a link's day", { timeout: 120_000 }, () => {
  test("with a host where nobody listens", async () => {
    const { delays, detail } = await leavesNothing(`test+tcp://127.0.0.1:${await closedPort()}/default`);
    assertBackOff(delays);
    assert.match(detail, /connection refused/);
  });

  test("with a daemon that dies as soon as it is spoken to", async () => {
    let attempts = 0;
    await using server = await fakeServer((message, peer) => {
      if (procedureName(message) !== "connectGetLibVersion") return;
      attempts += 1;
      peer.reply(message, "ConnectGetLibVersionRet", { libVer: 9_000_000n });
      peer.socket.end();
    });
    const { delays, detail } = await leavesNothing(server.uri);
    assertBackOff(delays);
    assert.ok(attempts <= delays.length + 3, `${attempts} attempts, ${delays.length} pauses`);
    assert.match(detail, /lost again and again/);
  });
});

/** A link that asks a daemon, which answers no such question unless told to, a second time while a long call goes on. */
async function askedAgain(mock: MockTracker) {
  let asked = Promise.withResolvers<() => void>();
  const server = await fakeServer((message, peer) => {
    if (procedureName(message) === "connectGetLibVersion") {
      peer.reply(message, "ConnectGetLibVersionRet", { libVer: 9_000_000n });
    }
    if (procedureName(message) !== "connectGetAllDomainStats") return;
    asked.resolve(() => peer.reply(message, "ConnectGetAllDomainStatsRet", { retStats: [] }));
  });
  const link = new LibvirtHostLink({ uri: server.uri }, { clock: systemClock, log: silentLogger, allowPlainTcp: true });
  const call = { signal: AbortSignal.timeout(20_000) };
  const connection = await link.connection(call);
  mock.timers.enable({ apis: ["setTimeout"] });
  link.unanswered(connection);
  await asked.promise;
  const gate = Promise.withResolvers<void>();
  const long = onConnection({ session: link }, call, "copy", () => gate.promise, longDeadlineMs);
  await turn();
  asked = Promise.withResolvers();
  mock.timers.tick(5000);
  const answer = await asked.promise;
  return {
    link,
    connection,
    answer,
    endLongCall: async (): Promise<void> => {
      gate.resolve();
      await long;
    },
    async [Symbol.asyncDispose]() {
      mock.timers.reset();
      await link[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

test("a daemon that is busy with long calls is not taken for one that answers nobody", async ({ mock }) => {
  await using under = await askedAgain(mock);
  under.answer();
  await under.endLongCall();
  assert.equal(under.connection.isOpen, true);
});

test("a link that is closed while it asks a mute daemon again ends, also while a long call goes on", async ({
  mock,
}) => {
  await using under = await askedAgain(mock);
  mock.timers.reset();
  await under.link[Symbol.asyncDispose]();
  assert.equal(under.connection.isOpen, false);
  await under.endLongCall();
});
test("hosts that are lost together have their turns one after another; one alone has it at once", () => {
  let nowMs = 1000;
  const pace = new ReconnectPace({ monotonicMs: () => nowMs });
  const delays = Array.from({ length: 100 }, () => pace.delayMs());
  assert.equal(delays[0], 0);
  assert.equal(new Set(delays).size, 100);
  assert.deepEqual(
    delays,
    delays.toSorted((a, b) => a - b),
  );
  const lastMs = delays.at(-1) ?? 0;
  assert.ok(lastMs <= 500, `${lastMs} ms`);
  nowMs += lastMs + 1000;
  assert.equal(pace.delayMs(), 0);
});

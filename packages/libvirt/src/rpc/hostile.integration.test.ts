// A real daemon behind a proxy that cuts, delays, repeats, drops and alters bytes: whatever arrives, every call ends, by
// its answer or by one typed error, and nothing stays behind.
import { strict as assert } from "node:assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { connect } from "#connection/connect.ts";
import { EventOverflowError } from "#connection/event-subscription.ts";
import { Authority, readPem } from "#testing/certificate.ts";
import { daemonUnavailable, startDaemon } from "#testing/daemon.ts";
import { startProxy } from "#testing/proxy.ts";
import { CallTimeoutError, ConnectError, ConnectionLostError, LibvirtError, ProtocolError } from "./error.ts";
import type { ConnectOptions } from "#connection/connect.ts";
import type { Connection } from "#connection/connection.ts";
import type { Daemon } from "#testing/daemon.ts";
import type { ProxyLink, Tap } from "#testing/proxy.ts";

const typed = [LibvirtError, ConnectError, ConnectionLostError, CallTimeoutError, ProtocolError, EventOverflowError];
/** Far more than all deadlines of one run together: who waits longer, hangs. */
const HANG_MS = 60_000;

interface Fault {
  readonly from: "client" | "daemon";
  /** At which byte of what this side sends. */
  readonly at: number;
  readonly what: "cut" | "delay" | "drop" | "flip" | "repeat" | "noise";
  readonly value: number;
}

const fault = fc.record<Fault>({
  from: fc.constantFrom("client", "daemon", "daemon", "daemon"),
  at: fc.nat(6_000),
  what: fc.constantFrom("cut", "delay", "drop", "flip", "flip", "repeat", "noise"),
  value: fc.nat(255),
});

/** One direction: the bytes of a chunk before and after the fault's place, and what happens between. */
function side(fault: Fault | undefined, link: ProxyLink, send: (bytes: Uint8Array) => void): (bytes: Buffer) => void {
  let seen = 0;
  let isDone = fault === undefined;
  let held: Uint8Array[] | null = null;
  const pass = (bytes: Uint8Array): void => {
    if (held === null) send(bytes);
    else held.push(Uint8Array.from(bytes));
  };
  return (bytes) => {
    const at = (fault?.at ?? 0) - seen;
    seen += bytes.byteLength;
    if (isDone || fault === undefined || at >= bytes.byteLength) return pass(bytes);
    isDone = true;
    pass(bytes.subarray(0, at));
    const rest = Buffer.from(bytes.subarray(at));
    switch (fault.what) {
      case "cut":
        return link.cut();
      case "delay":
        held = [];
        setTimeout(() => {
          const waiting = held ?? [];
          held = null;
          for (const each of waiting) send(each);
        }, fault.value);
        return pass(rest);
      case "drop":
        return pass(rest.subarray(1 + (fault.value % 64)));
      case "flip":
        rest[0] = (rest[0] ?? 0) ^ (fault.value || 1);
        return pass(rest);
      case "repeat":
        pass(rest);
        return pass(rest);
      case "noise":
        return pass(Buffer.concat([Buffer.alloc(1 + (fault.value % 64), fault.value), rest]));
    }
  };
}

function faulty(faults: readonly Fault[]): (link: ProxyLink) => Tap {
  return (link) => ({
    fromClient: side(
      faults.find((each) => each.from === "client"),
      link,
      link.toDaemon,
    ),
    fromDaemon: side(
      faults.find((each) => each.from === "daemon"),
      link,
      link.toClient,
    ),
  });
}

const deadline = { timeoutMs: 500 };

/** What a control plane does: lists, XML, statistics, an event, a refusal; a screenshot's stream. */
async function traffic(connection: Connection): Promise<PromiseSettledResult<unknown>[]> {
  const { remote } = connection;
  // A stream's deadline is for its opening; its life ends by the signal, with the signal's reason.
  const signal = AbortSignal.timeout(1_000);
  const events = connection.events.domain("lifecycle", { signal });
  const dom = { name: "test", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: 1 };
  const screenshot = async (): Promise<void> => {
    const { readable, completed } = await connection.stream(
      "domainScreenshot",
      { dom, screen: 0 },
      { ...deadline, signal },
    );
    for await (const _chunk of readable) continue;
    await completed;
  };
  return Promise.allSettled([
    remote.connectListAllDomains({ needResults: 1 }, deadline),
    remote.connectGetCapabilities({}, deadline),
    remote.connectGetAllDomainStats({ doms: [], stats: 0 }, deadline),
    remote.domainGetXmlDesc({ dom }, deadline),
    remote.domainLookupByName({ name: "nobody" }, deadline),
    remote.domainSuspend({ dom }, deadline).then(() => remote.domainResume({ dom }, deadline)),
    events.next(),
    screenshot(),
  ]);
}

async function bounded<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("it hangs")), HANG_MS);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}

function assertTyped(error: unknown): void {
  assert.ok(
    typed.some((kind) => error instanceof kind) || (error instanceof DOMException && error.name === "TimeoutError"),
    String(error),
  );
}

function single(send: (bytes: Uint8Array) => void): (bytes: Buffer) => void {
  return (bytes) => {
    for (let at = 0; at < bytes.byteLength; at += 1) send(bytes.subarray(at, at + 1));
  };
}

async function xml({ remote }: Connection): Promise<string> {
  const { dom } = await remote.domainLookupByName({ name: "test" });
  return (await remote.domainGetXmlDesc({ dom })).xml;
}

describe("a daemon behind a hostile network", { skip: daemonUnavailable() ?? false, timeout: 300_000 }, () => {
  let folder: string;
  let tls: NonNullable<ConnectOptions["tls"]>;
  let daemon: Daemon;
  let expected: unknown;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "innkeeper-pki-"));
    const authority = new Authority(folder, "ca");
    tls = readPem(authority.issue("client", [], "clientAuth"));
    daemon = await startDaemon({ tls: authority.issue("server", ["IP:127.0.0.1"], "serverAuth") });
    await using connection = await connect(`test:///default?socket=${daemon.socket}`);
    expected = await connection.remote.connectListAllDomains({ needResults: 1 });
  });
  after(async () => {
    await daemon?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("cut, delayed, dropped, altered, repeated bytes and noise: each call ends, by one typed error at most", async () => {
    const outcomes = { answered: 0, refused: 0, unconnected: 0 };
    const stray: unknown[] = [];
    const onStray = (error: unknown): void => void stray.push(error);
    process.on("unhandledRejection", onStray).on("uncaughtException", onStray);
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { minLength: 1, maxLength: 2 }), async (faults) => {
        await using proxy = await startProxy(daemon.socket, faulty(faults));
        const uri = `test:///default?socket=${proxy.socket}`;
        const connection = await bounded(connect(uri, { timeoutMs: 500 })).catch((error: unknown) => {
          assertTyped(error);
          outcomes.unconnected += 1;
          return null;
        });
        if (connection === null) return;
        for (const result of await bounded(traffic(connection))) {
          if (result.status === "fulfilled") outcomes.answered += 1;
          else {
            assertTyped(result.reason);
            outcomes.refused += 1;
          }
        }
        await bounded(connection.close());
        await bounded(connection.closed);
      }),
      { numRuns: 80, seed: 20_261_123, endOnFailure: true },
    );
    process.off("unhandledRejection", onStray).off("uncaughtException", onStray);
    assert.deepEqual(stray, []);
    for (const [what, count] of Object.entries(outcomes)) assert.ok(count > 0, `${what}: ${count}`);
  });

  test("the same under TLS, in the handshake and after it: nothing altered gets through", async () => {
    for (const what of ["cut", "drop", "flip", "repeat", "noise"] as const) {
      for (const at of [3, 700, 2_500, 4_000]) {
        const tap = faulty([{ from: "daemon", at, what, value: 129 }]);
        await using proxy = await startProxy(daemon.tlsPort, tap);
        const uri = `test+tls://127.0.0.1:${proxy.port}/default`;
        const connection = await bounded(connect(uri, { timeoutMs: 500, tls })).catch((error: unknown) => {
          assertTyped(error);
          return null;
        });
        if (connection === null) continue;
        const results = await bounded(traffic(connection));
        for (const result of results) if (result.status === "rejected") assertTyped(result.reason);
        const [list] = results;
        if (list?.status === "fulfilled") assert.deepEqual(list.value, expected);
        await bounded(connection.close());
      }
    }
  });

  test("a slow network, byte by byte, loses nothing", async () => {
    await using proxy = await startProxy(daemon.socket, (link) => ({
      fromClient: single(link.toDaemon),
      fromDaemon: single(link.toClient),
    }));
    await using slow = await connect(`test:///default?socket=${proxy.socket}`);
    await using direct = await connect(`test:///default?socket=${daemon.socket}`);
    assert.equal(await xml(slow), await xml(direct));
  });
});

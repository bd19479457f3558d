/**
 * A day's worth of reconnects (one every 30 s) of a host's link, over TLS to a simulated host, each with the events that
 * are subscribed to anew: no listener, socket, timer or heap is left of them, here or in the simulated daemon.
 */
import assert from "node:assert/strict";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Connection } from "@innkeeper/libvirt";
import { Authority, readPem } from "@innkeeper/libvirt/testing/certificate.ts";
import { held } from "@innkeeper/libvirt/testing/resource.ts";
import { byCounts } from "@innkeeper/sim/fleet/declaration.ts";
import { Fleet } from "@innkeeper/sim/fleet/fleet.ts";
import { VirtualClock } from "@innkeeper/sim/host/clock.ts";
import type { Clock } from "#core/clock.ts";
import { silentLogger } from "#core/log.ts";
import { LibvirtHostLink } from "#hardware/driver/libvirt/host-link.ts";
import { createLibvirtHypervisor } from "#virtualization/driver/libvirt/hypervisor.ts";

const rounds = 2880;
/** Before anything is compared: code, pools and caches come into being. */
const warmUp = 100;
/** As of packages/libvirt's reconnect.integration.test.ts. */
const bytesEach = 200;
const slackBytes = 1_500_000;
const port = 26_515;

/** Pauses are over at once. */
class HastyClock implements Clock {
  #ms = 0;

  now(): number {
    return this.#ms;
  }

  monotonicMs(): number {
    return this.#ms;
  }

  async sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.#ms += delayMs;
    await turn();
  }
}

test("a day of reconnects with events leaves nothing", { timeout: 120_000 }, async () => {
  await using folder = await mkdtempDisposable(path.join(tmpdir(), "inn-reconnect-"));
  const address = `127.${100 + (process.pid % 50)}.${(process.pid >> 8) % 200}.1`;
  const authority = new Authority(folder.path, "ours");
  const own = readPem(authority.issue("server", [`IP:${address}`], "serverAuth"));
  const client = readPem(authority.issue("client", [], "clientAuth"));
  const counts = { clusters: 1, hosts: 1, vms: 1, seed: 1, storage: "shared" } as const;
  await using fleet = new Fleet(byCounts(counts), new VirtualClock());
  const files = { ca: Buffer.from(own.ca), cert: Buffer.from(own.cert), key: Buffer.from(own.key) };
  await fleet.listenTcp(address, port, files);
  const [host] = fleet.hosts;
  assert.ok(host);
  const uri = host.uris[0] ?? "";
  const tls = {
    caCertificate: String(client.ca),
    clientCertificate: String(client.cert),
    clientKey: String(client.key),
  };
  const clock = new HastyClock();
  await using link = new LibvirtHostLink({ uri, tls }, { clock, log: silentLogger, allowPlainTcp: false });
  const guest = createLibvirtHypervisor({ session: link, log: silentLogger, clock, uri });
  const over = new AbortController();
  const call = { signal: over.signal };
  const connected = async (): Promise<Connection> => {
    // While it pauses it tells why the latest attempt failed.
    while (link.status.state !== "connected") await turn();
    return link.connection(call);
  };
  const round = async (): Promise<void> => {
    const { remote } = await connected();
    const lost = assert.rejects(guest.events(over.signal)[Symbol.asyncIterator]().next(), { code: "host_unreachable" });
    await turn();
    // Answered after the subscriptions, which were asked for before.
    await remote.connectGetLibVersion();
    host.daemon.drop();
    await lost;
  };
  for (let count = 0; count < warmUp; count++) await round();
  await connected();
  const before = await held();
  for (let count = 0; count < rounds; count++) await round();
  await connected();
  const later = await held();
  over.abort();
  assert.deepEqual(later.handles, before.handles);
  assert.equal(later.descriptorCount, before.descriptorCount);
  assert.equal(host.daemon.sessions.size, 1);
  const grownBytes = later.heapBytes - before.heapBytes;
  assert.ok(grownBytes < rounds * bytesEach + slackBytes, `${grownBytes} bytes more after ${rounds} reconnects`);
});

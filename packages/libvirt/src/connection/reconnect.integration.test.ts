// A day's worth of reconnects to a real daemon in a few seconds (the control plane tries every 30 s at the most, which is
// 2,880 a day): by each way in which a connection can end, nothing is left in this process or in the daemon.
import { strict as assert } from "node:assert";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { ConnectionLostError } from "#rpc/error.ts";
import { Authority, readPem } from "#testing/certificate.ts";
import { daemonUnavailable, startDaemon } from "#testing/daemon.ts";
import { startProxy } from "#testing/proxy.ts";
import { held } from "#testing/resource.ts";
import { connect } from "./connect.ts";
import type { Daemon } from "#testing/daemon.ts";
import type { ProxyLink } from "#testing/proxy.ts";
import type { ConnectOptions } from "./connect.ts";

/** Before anything is compared: code, pools and caches come into being. */
const WARM_UP = 100;
const ROUNDS = 2_000;
const TLS_ROUNDS = 800;
/** Of heap, per reconnect: nothing that is kept for each connection is this small. */
const BYTES_EACH = 200;
/** Compiled code and inline caches still change a little. */
const SLACK_BYTES = 1_500_000;

async function leavesNothing(rounds: number, round: () => Promise<void>): Promise<void> {
  for (let count = 0; count < WARM_UP; count += 1) await round();
  const before = await held();
  for (let count = 0; count < rounds; count += 1) await round();
  const later = await held();
  assert.deepEqual(later.handles, before.handles);
  assert.equal(later.descriptorCount, before.descriptorCount);
  const grownBytes = later.heapBytes - before.heapBytes;
  assert.ok(grownBytes < rounds * BYTES_EACH + SLACK_BYTES, `${grownBytes} bytes more after ${rounds} reconnects`);
}

async function use(uri: string, tls: NonNullable<ConnectOptions["tls"]>): Promise<void> {
  await using connection = await connect(uri, { tls });
  const events = connection.events.domain("lifecycle");
  await events.ready;
  await connection.remote.connectGetLibVersion();
}

describe("reconnects", { skip: daemonUnavailable() ?? false, timeout: 300_000 }, () => {
  let folder: string;
  let daemon: Daemon;
  let tls: NonNullable<ConnectOptions["tls"]>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "innkeeper-pki-"));
    const authority = new Authority(folder, "ca");
    tls = readPem(authority.issue("client", [], "clientAuth"));
    daemon = await startDaemon({
      tls: authority.issue("server", ["IP:127.0.0.1"], "serverAuth"),
      configuration: ["max_clients = 100", "max_anonymous_clients = 100"],
    });
  });
  after(async () => {
    await daemon?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("opened, used, closed: over the local socket and over TLS", async () => {
    await leavesNothing(ROUNDS, () => use(`test:///default?socket=${daemon.socket}`, tls));
    await leavesNothing(TLS_ROUNDS, () => use(`test+tls://127.0.0.1:${daemon.tlsPort}/default`, tls));
    // The daemon, too, lets go of them all: its listening sockets and own files remain.
    const deadline = Date.now() + 30_000;
    for (;;) {
      const { length } = await readdir(`/proc/${daemon.pid()}/fd`);
      if (length < 60) break;
      assert.ok(Date.now() < deadline, `libvirtd holds ${length} file descriptors`);
      await delay(50);
    }
  });

  test("killed while a call, a subscription and a deadline are pending", async () => {
    const { signal } = new AbortController();
    const links = new Set<ProxyLink>();
    await using proxy = await startProxy(daemon.socket, (link) => {
      links.add(link);
      return { fromClient: link.toDaemon, fromDaemon: link.toClient };
    });
    await leavesNothing(ROUNDS, async () => {
      const connection = await connect(`test:///default?socket=${proxy.socket}`);
      const events = connection.events.domain("lifecycle");
      const pending = [events.next(), connection.remote.connectGetCapabilities({}, { signal })];
      for (const link of links) link.cut();
      links.clear();
      for (const result of await Promise.allSettled(pending)) {
        if (result.status === "rejected")
          assert.ok(result.reason instanceof ConnectionLostError, String(result.reason));
      }
      await connection.closed;
    });
    assert.equal(proxy.clientCount, 0);
  });

  test("refused, given up and never answered", async () => {
    await using silent = await startProxy(daemon.socket, () => ({ fromClient: () => {}, fromDaemon: () => {} }));
    await leavesNothing(ROUNDS, async () => {
      await assert.rejects(connect("test:///default?socket=/nonexistent"));
      const own = new AbortController();
      const attempt = connect(`test:///default?socket=${silent.socket}`, { signal: own.signal });
      setImmediate(() => own.abort());
      await assert.rejects(attempt);
    });
  });
});

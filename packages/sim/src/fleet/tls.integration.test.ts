// A fleet over mutual TLS: who has a certificate of its authority gets in, who has none does not.
import { strict as assert } from "node:assert";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ConnectError, connect } from "@innkeeper/libvirt";
import { Authority, readPem } from "@innkeeper/libvirt/testing/certificate.ts";
import { VirtualClock } from "#host/clock.ts";
import { byCounts } from "./declaration.ts";
import { Fleet } from "./fleet.ts";

const PORT = 26_514;

test("a fleet listens with TLS for clients of its authority", { timeout: 30_000 }, async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "inn-sim-tls-"));
  const address = `127.${150 + (process.pid % 50)}.${(process.pid >> 8) % 200}.1`;
  const authority = new Authority(folder.path, "ours");
  const own = readPem(authority.issue("server", [`IP:${address}`], "serverAuth"));
  const { ca, cert, key } = readPem(authority.issue("client", [], "clientAuth"));
  const counts = { clusters: 1, hosts: 1, vms: 1, seed: 1, storage: "shared" } as const;
  await using fleet = new Fleet(byCounts(counts), new VirtualClock());
  const files = { ca: Buffer.from(own.ca), cert: Buffer.from(own.cert), key: Buffer.from(own.key) };
  await fleet.listenTcp(address, PORT, files);
  const uri = fleet.hosts[0]?.uris[0] ?? "";
  await using connection = await connect(uri, { tls: { ca, cert, key } });
  assert.deepEqual(await connection.remote.connectGetHostname(), { hostname: "c1h1" });
  await assert.rejects(connect(uri, { tls: { ca } }), (error) => {
    assert.ok(error instanceof ConnectError);
    return error.failure === "certificate";
  });
});

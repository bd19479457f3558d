/** The operations on hosts, pools, volumes, networks and images, and the services beside them, on real hosts. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { ControlPlane, labAccess, type LabAccess } from "#app/test-support/control-plane.ts";
import { AppError } from "#core/app-error.ts";
import { CertificateAuthority } from "#core/certificate-authority.ts";

const context = { userName: "tester", signal: AbortSignal.timeout(600_000) };

describe("operations on hosts, storage and networks", () => {
  let lab: Lab;
  let access: LabAccess;
  let plane: ControlPlane;
  let h1: LabHost;
  let h2: LabHost;
  let scratch: string;

  before(async () => {
    await Lab.down("host-operations");
    scratch = mkdtempSync(path.join(tmpdir(), "inn-host-operations-"));
    lab = await Lab.up({ name: "host-operations", hostCount: 2 });
    access = await labAccess(lab);
    [h1, h2] = [lab.host("h1"), lab.host("h2")];
    plane = await ControlPlane.open();
  });

  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await lab?.down();
    rmSync(scratch, { recursive: true, force: true });
  });

  const refusal = async (operation: string, input: unknown) => {
    try {
      const task = await plane.run(operation, input);
      return { code: task.error?.code, field: task.error?.field, detail: task.error?.detail ?? "" };
    } catch (error) {
      assert.ok(error instanceof AppError, String(error));
      return { code: error.code, field: error.field, detail: error.message };
    }
  };
  const pool = (host: string, name: string): StoragePool => {
    const found = plane.inventory
      .by("storage-pool", "name", name)
      .find((each) => plane.inventory.get("host", each.hostId)?.name === host);
    assert.ok(found, `pool ${name} of ${host}`);
    return found;
  };
  const volume = (host: string, poolName: string, name: string) =>
    plane.inventory.by("volume", "poolId", pool(host, poolName).id).find((each) => each.name === name);

  const file = (name: string): string => path.join(scratch, name);
  const upload = async (name: string, bytes: Uint8Array, more: object = {}) =>
    plane.wiring.image.upload(
      { name, pool: "local", host: "h1", sizeBytes: bytes.byteLength, ...more },
      streamOf(bytes),
      context,
    );
  const files = async (): Promise<string> => (await h1.exec(["ls", "-A", "/var/lib/libvirt/images"])).stdout;

  test("hosts that can't be added are refused with the reason, and nothing remains", async () => {
    const { tls } = access;
    const otherAuthority = await CertificateAuthority.open(path.join(scratch, "ca"));
    const other = otherAuthority.issue({ commonName: "other", purposes: ["client"] });
    const add = (uri: string, more: object = {}) => refusal("host.add", { request: { uri, tls, ...more } });
    const rows: [string, Awaited<ReturnType<typeof add>>, string, RegExp][] = [
      [
        "no such host",
        await add("qemu+tls://no-such-host.invalid/system"),
        "host_unreachable",
        /no such host|resolved/,
      ],
      ["nobody listens", await add(`qemu+tls://${h1.address}:1/system`), "host_unreachable", /refused/],
      ["plain TCP", await add(`qemu+tcp://${h1.address}/system`), "invalid_field", /plain TCP/],
      ["no_verify", await add(`${h1.uri}?no_verify=1`), "invalid_field", /no_verify/],
      ["no URI", await add("qemu+carrier-pigeon://h1/system"), "invalid_field", /transport|match/i],
      [
        "another CA",
        await add(h1.uri, { tls: { ...tls, caCertificate: otherAuthority.certificatePem } }),
        "host_untrusted",
        /certificate/,
      ],
      [
        "our certificate is refused",
        await add(h1.uri, { tls: { ...tls, clientCertificate: other.certificatePem, clientKey: other.keyPem } }),
        "host_untrusted",
        /certificate/,
      ],
      ["wrong driver", await add(`xen+tls://${h1.address}/system`), "unsupported", /xen/i],
      ["bad name", await add(h1.uri, { name: "a/b" }), "invalid_field", /name|match/],
    ];
    for (const [what, { code, detail }, wanted, words] of rows) {
      assert.equal(code, wanted, `${what}: ${detail}`);
      assert.match(detail, words, what);
    }
    assert.equal(plane.inventory.list("host").length, 0);
  });

  test("hosts are added; a second time is a conflict; names are unique", async () => {
    await plane.addHost(h1.uri, access.tls);
    await plane.addHost(h2.uri, access.tls, { name: "second", tags: ["lab"] });
    assert.equal((await refusal("host.add", { request: { uri: h1.uri, tls: access.tls } })).code, "conflict");
    const again = await refusal("host.add", { request: { uri: `${h1.uri}?mode=legacy`, tls: access.tls } });
    assert.equal(again.code, "conflict");
    assert.match(again.detail, /host h1/);
    assert.equal(plane.inventory.list("host").length, 2);
    const host = plane.inventory.require("host", "second");
    const change = (request: object, more: object = {}) =>
      plane.wiring.host.change(host.id, request, { ...context, ...more });
    await assert.rejects(change({ name: "h1" }), { code: "name_taken", field: "name" });
    await assert.rejects(change({ maintenance: true }, { ifRevision: 1 }), { code: "precondition_failed" });
    const changed = await change({ name: "h2", maintenance: true, tags: ["a", "a", "b"] });
    assert.deepEqual([changed.name, changed.maintenance, changed.tags], ["h2", true, ["a", "b"]]);
    await change({ maintenance: false });
    const stored = await plane.store.transaction((transaction) => transaction.getPrivate("host-credential", host.id));
    assert.ok(!JSON.stringify(stored).includes("PRIVATE KEY"), "keys are encrypted at rest");
    assert.ok(!JSON.stringify(plane.inventory.list("task")).includes("PRIVATE KEY"));
    assert.equal((await plane.run("host.refresh", { hostId: host.id })).state, "succeeded");
  });

  test("other credentials take the place of the stored ones once they reached the host, and never before", async () => {
    const { id, uri } = plane.inventory.require("host", "h2");
    const authority = await CertificateAuthority.open(path.join(scratch, "reconnect-ca"));
    const { certificatePem, keyPem } = authority.issue({ commonName: "other", purposes: ["client"] });
    const foreign = { ...access.tls, clientCertificate: certificatePem, clientKey: keyPem };
    const reconnect = (request: object) => refusal("host.reconnect", { hostId: id, request });
    for (const [request, code, words] of [
      [{ tls: foreign }, "host_untrusted", /certificate/],
      [{ uri: `qemu+tls://${h2.address}:1/system` }, "host_unreachable", /refused/],
      [{ uri: `${h2.uri}?no_verify=1` }, "invalid_field", /no_verify/],
      [{ uri: h1.uri }, "conflict", /has this URI already/],
      [{ uri: `qemu+tls://${h1.address}:16514/system` }, "conflict", /another machine than host h2/],
      [{ tls: { clientCertificate: certificatePem } }, "invalid_field", /belong together/],
    ] as const) {
      const { code: said, detail } = await reconnect(request);
      assert.equal(said, code, detail);
      assert.match(detail, words);
    }
    const unchanged = plane.inventory.require("host", id);
    assert.deepEqual([unchanged.uri, unchanged.connectionState], [uri, "connected"]);
    const other = `qemu+tls://${h2.address}:16514/system`;
    await plane.succeed("host.reconnect", { hostId: id, request: { uri: other, tls: access.tls } });
    await plane.connected();
    assert.equal(plane.inventory.require("host", id).uri, other);
    await plane.succeed("host.refresh", { hostId: id });
    await plane.succeed("host.reconnect", { hostId: "h2", request: { uri } });
    await plane.succeed("host.reconnect", { hostId: id });
    await plane.connected();
    assert.equal(plane.inventory.require("host", id).uri, uri);
  });

  test("pools are created, refused, and deleted with their volumes left", async () => {
    const request = { host: "h1", name: "data", type: "dir", path: "/var/lib/libvirt/data" };
    const { poolId } = await plane.succeed<{ poolId: string }>("pool.create", { request });
    assert.equal(plane.inventory.get("storage-pool", poolId)?.state, "running");
    assert.equal((await refusal("pool.create", { request })).code, "name_taken");
    const samePath = { ...request, name: "other" };
    assert.deepEqual(await refusal("pool.create", { request: samePath }).then((r) => [r.code, r.field]), [
      "conflict",
      "path",
    ]);
    for (const bad of ["/etc/x", "/a/../b", "/"]) {
      assert.equal(
        (await refusal("pool.create", { request: { ...request, name: "bad", path: bad } })).code,
        "invalid_field",
        bad,
      );
    }
    const nfs = {
      ...request,
      name: "nfs",
      type: "netfs",
      path: "/mnt/nfs",
      source: { host: "127.0.0.1", path: "/none" },
    };
    assert.equal((await refusal("pool.create", { request: nfs })).code, "host_failed");
    assert.doesNotMatch((await h1.exec(["virsh", "pool-list", "--all"])).stdout, /nfs|bad/);
    await plane.succeed("volume.create", { request: { poolId, name: "keep.raw", format: "raw", capacityBytes: 4096 } });
    await plane.succeed("pool.delete", { poolId });
    assert.equal(plane.inventory.get("storage-pool", poolId), undefined);
    await h1.exec(["test", "-f", "/var/lib/libvirt/data/keep.raw"]);
  });

  test("a pool is shared only when that is proved", async () => {
    const local = pool("h1", "local");
    await assert.rejects(plane.wiring.pool.change(local.id, { shared: true }, context), (error: AppError) => {
      assert.equal(error.code, "conflict");
      assert.match(error.message, /not the same storage on hosts h1 and h2/);
      return true;
    });
    const shared = await plane.wiring.pool.change(pool("h1", "shared").id, { shared: true }, context);
    assert.equal(shared.shared, true);
    assert.equal(pool("h2", "shared").shared, true);
    const { stdout } = await h1.exec(["sh", "-c", `ls -A /var/lib/libvirt/images ${lab.sharedFolder}`]);
    assert.doesNotMatch(stdout, /probe/);
    await plane.succeed("volume.create", {
      request: { poolId: shared.id, name: "both.qcow2", format: "qcow2", capacityBytes: 1 << 20 },
    });
    await plane.until("the other host's view", () => volume("h2", "shared", "both.qcow2"));
  });

  test("volumes: create, grow, content in and out, delete; who uses one is named", async () => {
    const { id: poolId } = pool("h1", "local");
    const create = (name: string, format: string, capacityBytes: number) => ({
      request: { poolId, name, format, capacityBytes },
    });
    await plane.succeed("volume.create", create("v.raw", "raw", 8 << 20));
    assert.equal((await refusal("volume.create", create("v.raw", "raw", 8 << 20))).code, "name_taken");
    assert.equal((await refusal("volume.create", create("../v", "raw", 8 << 20))).code, "invalid_field");
    const { id } = volume("h1", "local", "v.raw") ?? assert.fail();
    const bytes = randomBytes(4 << 20);
    await plane.wiring.volume.upload(id, streamOf(bytes), bytes.length, context);
    const { content, sizeBytes } = await plane.wiring.volume.download(id, context);
    const got = Buffer.from(await new Response(content).arrayBuffer());
    assert.equal(sizeBytes, 8 << 20);
    assert.ok(got.subarray(0, bytes.length).equals(bytes));
    await assert.rejects(plane.wiring.volume.upload(id, streamOf(randomBytes(9 << 20)), 9 << 20, context), {
      code: "too_large",
    });
    await plane.succeed("volume.resize", { volumeId: id, request: { capacityBytes: 16 << 20 } });
    assert.equal(plane.inventory.get("volume", id)?.capacityBytes, 16 << 20);
    assert.equal(
      (await refusal("volume.resize", { volumeId: id, request: { capacityBytes: 1 } })).code,
      "invalid_field",
    );
    const used = { request: { name: "user", host: "h1", memory: { sizeMiB: 32 }, disks: [{ volumeId: id }] } };
    const { vmId } = await plane.succeed<{ vmId: string }>("vm.create", used);
    const refused = await refusal("volume.delete", { volumeId: id });
    assert.equal(refused.code, "conflict");
    assert.match(refused.detail, /disk vda of VM user/);
    assert.equal((await refusal("pool.delete", { poolId })).code, "conflict");
    await plane.succeed("vm.delete", { vmId, deleteDisks: false });
    await plane.succeed("volume.delete", { volumeId: id });
    assert.equal(plane.inventory.get("volume", id), undefined);
    await assert.rejects(h1.exec(["test", "-e", "/var/lib/libvirt/images/v.raw"]));
  });

  test("an upload keeps others off its volume, and its host from being removed; tasks wait for its end", async () => {
    const name = "slow.raw";
    const definition = { poolId: pool("h1", "local").id, name, format: "raw", capacityBytes: 2 << 20 };
    await plane.succeed("volume.create", { request: definition });
    const { id } = volume("h1", "local", name) ?? assert.fail();
    const gate = Promise.withResolvers<void>();
    const slow = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await gate.promise;
        controller.enqueue(randomBytes(1 << 20));
        controller.close();
      },
    });
    const uploading = plane.wiring.volume.upload(id, slow, 1 << 20, context);
    await assert.rejects(plane.wiring.volume.upload(id, streamOf(randomBytes(1)), 1, context), {
      code: "conflict",
      message: /upload to volume slow\.raw has not ended/,
    });
    const removal = await plane.engine.submit("host.remove", { hostId: "h1" }, context);
    assert.equal((await plane.engine.wait(removal.id, 300)).state, "queued");
    await plane.engine.cancel(removal.id);
    const deletion = await plane.engine.submit("volume.delete", { volumeId: id }, context);
    assert.equal((await plane.engine.wait(deletion.id, 300)).state, "queued");
    const refused = await refusal("host.remove", { hostId: "h1" });
    assert.equal(refused.code, "conflict");
    assert.match(refused.detail, /volume\.delete slow\.raw.* still works on host h1/);
    gate.resolve();
    await uploading;
    assert.equal((await plane.engine.wait(deletion.id, 30_000)).state, "succeeded");
  });

  test("networks: create, refuse, stop, start, delete", async () => {
    const request = {
      host: "h1",
      name: "n1",
      forwardMode: "nat",
      address: "10.211.7.1/24",
      dhcp: { start: "10.211.7.10", end: "10.211.7.99" },
    };
    const { networkId } = await plane.succeed<{ networkId: string }>("network.create", { request });
    assert.deepEqual(plane.inventory.get("network", networkId)?.addresses, ["10.211.7.1/24"]);
    assert.equal((await refusal("network.create", { request })).code, "name_taken");
    assert.equal((await refusal("network.create", { request: { ...request, name: "n2" } })).code, "conflict");
    const outside = { ...request, name: "n2", dhcp: { start: "10.212.0.1", end: "10.212.0.2" } };
    assert.deepEqual(await refusal("network.create", { request: outside }).then((r) => [r.code, r.field]), [
      "invalid_field",
      "dhcp.start",
    ]);
    assert.doesNotMatch((await h1.exec(["virsh", "net-list", "--all"])).stdout, /n2/);
    await plane.succeed("network.stop", { networkId });
    assert.equal(plane.inventory.get("network", networkId)?.active, false);
    await plane.succeed("network.start", { networkId });
    const { vmId } = await plane.succeed<{ vmId: string }>("vm.create", {
      request: { name: "on-n1", host: "h1", memory: { sizeMiB: 32 }, nics: [{ network: "n1" }] },
    });
    const refused = await refusal("network.delete", { networkId });
    assert.match(refused.detail, /used by VM on-n1/);
    await plane.succeed("vm.delete", { vmId });
    await plane.succeed("network.delete", { networkId });
    assert.equal(plane.inventory.get("network", networkId), undefined);
  });

  test("good images are stored as libvirt sees them", async () => {
    qemuImg("create", "-q", "-f", "qcow2", file("good.qcow2"), "64M");
    const bytes = readFileSync(file("good.qcow2"));
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const image = await upload("good", bytes, { sha256 });
    assert.deepEqual([image.format, image.capacityBytes, image.sha256], ["qcow2", 64 << 20, sha256]);
    await assert.rejects(upload("good", bytes), { code: "name_taken", field: "name" });
    const raw = Buffer.alloc(1 << 20);
    raw.set([0x55, 0xaa], 510);
    assert.equal((await upload("raw", raw)).format, "raw");
    const created = await plane.succeed<{ vmId: string }>("vm.create", {
      request: { name: "linked", host: "h1", memory: { sizeMiB: 32 }, disks: [{ image: "good", linked: true }] },
    });
    const refused = await refusal("image.delete", { imageId: image.id });
    assert.equal(refused.code, "conflict");
    assert.match(refused.detail, /VM linked|overlay/);
    await plane.succeed("vm.delete", { vmId: created.vmId, deleteDisks: true });
    await plane.succeed("image.delete", { imageId: image.id });
    assert.doesNotMatch(await files(), /good/);
  });

  test("hostile and broken images are refused, and nothing remains", async () => {
    const before = await files();
    qemuImg("create", "-q", "-f", "qcow2", file("base.qcow2"), "1M");
    qemuImg("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", file("backed.qcow2"), "1M");
    qemuImg("create", "-q", "-f", "qcow2", "-o", `data_file=${file("data.raw")}`, file("datafile.qcow2"), "1M");
    qemuImg("create", "-q", "-f", "vmdk", file("d.vmdk"), "1M");
    const base = readFileSync(file("base.qcow2"));
    const huge = Buffer.from(base);
    huge.writeBigUInt64BE(1n << 63n, 24);
    const bootable = Buffer.alloc(1 << 20);
    bootable.set([0x55, 0xaa], 510);
    const rows: [string, Uint8Array, RegExp, object?][] = [
      ["backed", readFileSync(file("backed.qcow2")), /backing file/],
      ["datafile", readFileSync(file("datafile.qcow2")), /data file/],
      ["huge", huge, /claims/],
      ["cut", base.subarray(0, 70_000), /cut off/],
      ["vmdk", readFileSync(file("d.vmdk")), /VMDK/],
      ["text", Buffer.from("this is no disk\n".repeat(1000)), /not a disk image/],
      ["packed", Buffer.from([0x1f, 0x8b, 8, 0, ...randomBytes(600)]), /gzip/],
      ["short", base, /ended|bytes/, { sizeBytes: base.byteLength + 512 }],
      ["long", bootable, /bytes/, { sizeBytes: bootable.byteLength - 512 }],
      ["sum", base, /SHA-256/, { sha256: "0".repeat(64) }],
    ];
    for (const [name, bytes, words, more] of rows) {
      await assert.rejects(upload(name, bytes, more), (error: AppError) => {
        assert.match(error.message, words, name);
        return true;
      });
    }
    assert.equal(await files(), before);
    assert.equal(plane.inventory.list("image").filter((image) => rows.some(([name]) => name === image.name)).length, 0);
  });

  test("a full disk is said to be one", async () => {
    await h1.exec(["sh", "-c", "mkdir -p /run/small && mount -t tmpfs -o size=2m none /run/small"]);
    // tmpfs under /run is refused as a path of the host's own system: reached by another name.
    await h1.exec(["sh", "-c", "mkdir -p /var/lib/libvirt/small && mount --bind /run/small /var/lib/libvirt/small"]);
    const { poolId } = await plane.succeed<{ poolId: string }>("pool.create", {
      request: { host: "h1", name: "small", type: "dir", path: "/var/lib/libvirt/small" },
    });
    const big = { poolId, name: "big.raw", format: "raw", capacityBytes: 16 << 20, preallocate: true };
    assert.equal((await refusal("volume.create", { request: big })).code, "disk_full");
    const sparse = { poolId, name: "sparse.raw", format: "raw", capacityBytes: 16 << 20 };
    const { volumeId } = await plane.succeed<{ volumeId: string }>("volume.create", { request: sparse });
    const bytes = randomBytes(4 << 20);
    await assert.rejects(plane.wiring.volume.upload(volumeId, streamOf(bytes), bytes.length, context), {
      code: "disk_full",
    });
  });
});

function qemuImg(...argv: string[]): void {
  execFileSync("qemu-img", argv);
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  const chunk = 65_536;
  return ReadableStream.from(
    (function* () {
      for (let at = 0; at < bytes.byteLength; at += chunk) yield bytes.subarray(at, at + chunk);
    })(),
  );
}

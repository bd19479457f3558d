/** Snapshots and merges of a simulated guest, as of a real one. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { connect, type Connection } from "@innkeeper/libvirt";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import { newImage } from "@innkeeper/sim/host/file/image.ts";
import { SimHost } from "@innkeeper/sim/host/sim-host.ts";
import { procedureTable } from "@innkeeper/sim/procedure/table.ts";
import { SimDaemon } from "@innkeeper/sim/rpc/daemon.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import { createLibvirtHypervisor } from "./hypervisor.ts";
import { hasCode, testDefinition } from "./test-support/lab-hypervisor.ts";
import {
  chainOf,
  frozenWhileOff,
  mergedMiddle,
  refusedFreezes,
  type SnapshotBench,
} from "./test-support/snapshot-suite.ts";

const folder = "/var/lib/libvirt/images";
const signal = AbortSignal.timeout(60_000);
const call = { signal };
const file = (name: string): string => `${folder}/${name}`;

suite("snapshots of a simulated guest", () => {
  let host: SimHost;
  let connection: Connection;
  let bench: SnapshotBench;

  before(async () => {
    const timing = { startMs: 0, bootMs: 0, shutdownMs: 0 };
    host = new SimHost({ name: "h1", clock: new RealClock(), seed: 1, timing });
    for (const name of ["a.qcow2", "b.qcow2"])
      host.files.createImage(file(name), { mode: 0o600, uid: 0, gid: 0 }, newImage("qcow2", 1 << 26));
    const daemon = new SimDaemon(host, procedureTable);
    const uri = "qemu:///system";
    connection = await connect(uri, { dial: () => daemon.dial() });
    const session = { connection: () => Promise.resolve(connection) };
    const guest = createLibvirtHypervisor({ session, log: silentLogger, clock: systemClock, uri });
    const disk = { device: "disk", bus: "virtio", sourceType: "file", format: "qcow2" } as const;
    const disks = [
      { ...disk, target: "vda", source: file("a.qcow2") },
      { ...disk, target: "vdb", source: file("b.qcow2") },
    ];
    const definition = testDefinition("snap", { disks });
    await guest.lifecycle.define(definition, call);
    await guest.lifecycle.start(definition.uuid, {}, call);
    bench = { guest, uuid: definition.uuid, file, signal };
  });
  after(() => connection?.close());

  test("what can't be frozen is refused, and the disks stay as they are", () => refusedFreezes(bench));

  test("a middle layer is merged into the one below, also of a guest that is paused", () => mergedMiddle(bench));

  test("a merge that is cancelled leaves the layers; two merges of one layer share one job", async () => {
    const { guest, uuid } = bench;
    const [top = "", base = ""] = await chainOf(bench, "vdb");
    host.files.file(top).preallocate(600_000_000);
    const abort = new AbortController();
    const options = { target: "vdb", topPath: top, basePath: base };
    const onProgress = (): void => abort.abort();
    await assert.rejects(
      guest.snapshot.mergeDown(uuid, options, { signal: abort.signal, onProgress }),
      hasCode("cancelled"),
    );
    assert.equal((await chainOf(bench, "vdb"))[0], top);
    await Promise.all([guest.snapshot.mergeDown(uuid, options, call), guest.snapshot.mergeDown(uuid, options, call)]);
    assert.equal((await chainOf(bench, "vdb"))[0], base);
  });

  test("a guest that is off is frozen, reverted to its disks, and merged once started paused", () =>
    frozenWhileOff(bench));
});

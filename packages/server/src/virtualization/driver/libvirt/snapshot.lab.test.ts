/** Snapshots, reverts and merges of a real guest, whose own counters and files prove what state it is in. Needs root. */
import assert from "node:assert/strict";
import { access, unlink } from "node:fs/promises";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import type { GuestHypervisor } from "#virtualization/port.ts";
import {
  emptyDisk,
  guestDisk,
  hasCode,
  labHypervisor,
  type LabHypervisor,
  overlayOn,
  SerialConsole,
  testDefinition,
} from "./test-support/lab-hypervisor.ts";
import {
  chainOf,
  frozenWhileOff,
  mergedMiddle,
  refusedFreezes,
  type SnapshotBench,
} from "./test-support/snapshot-suite.ts";

const signal = AbortSignal.timeout(1_800_000);
/** Of one wait for a guest. */
const timeoutMs = 180_000;
const call = { signal };

suite("snapshots of a guest", () => {
  let lab: Lab;
  let h1: LabHypervisor;
  let guest: GuestHypervisor;
  let root: VmDisk;
  let data: VmDisk;
  const definition = testDefinition("snap");
  const { uuid } = definition;
  const file = (name: string) => path.join(lab.sharedFolder, name);
  const bench = (): SnapshotBench => ({ guest, uuid, file, signal });
  const chain = (target: string) => chainOf(bench(), target);

  async function openSerial(): Promise<SerialConsole> {
    return new SerialConsole(await guest.console.serial(uuid, { force: true }, call));
  }

  before(async () => {
    lab = await Lab.up({ name: `snap-${process.pid}`, hostCount: 1, signal });
    h1 = await labHypervisor(lab, 0);
    guest = h1.guest;
    root = await guestDisk(lab, "snap");
    data = await emptyDisk(lab, "snap", "vdb", 64);
    await guest.lifecycle.define({ ...definition, spec: { ...definition.spec, disks: [root, data] } }, call);
    await guest.lifecycle.start(uuid, {}, call);
    await using serial = await openSerial();
    await serial.expect(/INNKEEPER-GUEST READY/);
  });
  after(async () => {
    await h1?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  test("a disk-only snapshot freezes all disks at once, and is not taken twice", async () => {
    await using serial = await openSerial();
    await serial.run("echo before > /data/mark; sync");
    const overlays = new Map([
      ["vda", file("s1-vda.qcow2")],
      ["vdb", file("s1-vdb.qcow2")],
    ]);
    await guest.snapshot.freeze(uuid, { overlays, quiesce: false }, call);
    assert.deepEqual((await chain("vda")).slice(0, 2), [file("s1-vda.qcow2"), root.source]);
    assert.deepEqual(await chain("vdb"), [file("s1-vdb.qcow2"), data.source]);
    await guest.snapshot.freeze(uuid, { overlays, quiesce: false }, call);
    assert.equal((await chain("vdb")).length, 2);
    const { spec, pendingChanges, foreignSnapshotCount } = await guest.inventory.read(uuid, call);
    assert.equal(spec.disks[0]?.source, file("s1-vda.qcow2"));
    assert.deepEqual(pendingChanges, []);
    assert.equal(foreignSnapshotCount, 0);
    await serial.run("echo after > /data/mark; sync");
  });

  test("what can't be frozen is refused, and the disks stay as they are", () => refusedFreezes(bench()));

  test("file systems are frozen through the agent when asked", async () => {
    await waitFor("the agent", async () => (await guest.inventory.read(uuid, call)).guestAgentConnected || undefined, {
      timeoutMs,
    });
    const overlays = new Map([["vdb", file("s2-vdb.qcow2")]]);
    await guest.snapshot.freeze(uuid, { overlays, quiesce: true }, call);
    assert.equal((await chain("vdb")).length, 3);
    await using serial = await openSerial();
    assert.equal(await serial.run("echo thawed > /data/t; cat /data/t"), "thawed");
  });

  test("memory is saved with the disks, and the revert brings the very moment back", async () => {
    await using serial = await openSerial();
    await serial.run("echo 1 > /data/mark; sync; echo secret-in-memory > /tmp/mark");
    const progress: number[] = [];
    const memoryPath = file("s3.mem");
    const overlays = new Map([
      ["vda", file("s3-vda.qcow2")],
      ["vdb", file("s3-vdb.qcow2")],
    ]);
    const frozen = { vda: (await chain("vda"))[0] ?? "", vdb: (await chain("vdb"))[0] ?? "" };
    const onProgress = (done: number, total: number) => progress.push(done / total);
    await guest.snapshot.freeze(uuid, { overlays, memoryPath, quiesce: false }, { signal, onProgress });
    await access(memoryPath);
    assert.equal((await guest.inventory.read(uuid, call)).state, "running");
    await serial.run("echo 2 > /data/mark; sync; rm /tmp/mark");
    const disks = new Map([
      ["vda", { path: await overlayOn(lab, frozen.vda, "r1-vda.qcow2"), format: "qcow2" }],
      ["vdb", { path: await overlayOn(lab, frozen.vdb, "r1-vdb.qcow2"), format: "qcow2" }],
    ]);
    await assert.rejects(
      guest.snapshot.restoreMemory(memoryPath, { disks, paused: false }, call),
      hasCode("invalid_state"),
    );
    await guest.lifecycle.forceOff(uuid, call);
    const xml = await guest.inventory.xml(uuid, { inactive: true }, call);
    await guest.lifecycle.defineXml(xml, { disks }, call);
    await guest.snapshot.restoreMemory(memoryPath, { disks, paused: true }, call);
    const restored = await guest.inventory.read(uuid, call);
    assert.equal(restored.state, "paused");
    assert.equal(restored.spec.disks[0]?.source, file("r1-vda.qcow2"));
    assert.deepEqual(restored.pendingChanges, []);
    await using again = await openSerial();
    await guest.lifecycle.resume(uuid, call);
    assert.equal(await again.run("cat /tmp/mark; cat /data/mark"), "secret-in-memory\n1");
    // The other branch's file still has what was written after the snapshot.
    await access(file("s3-vda.qcow2"));
  });

  test("a snapshot with memory that is cancelled ends on the host before its caller hears of it", async (context) => {
    await using serial = await openSerial();
    // Memory that takes a while to save.
    await serial.run("dd if=/dev/urandom of=/tmp/fill bs=1M count=96 2>/dev/null");
    const before = await chain("vdb");
    const cancel = new AbortController();
    const memoryPath = file("cancelled.mem");
    const overlays = new Map([["vdb", file("cancelled-vdb.qcow2")]]);
    const freezing = guest.snapshot.freeze(uuid, { overlays, memoryPath, quiesce: false }, { signal: cancel.signal });
    const ended = new AbortController();
    freezing.finally(() => ended.abort()).catch(() => undefined);
    // Asked without a pause: on a quiet machine the job lasts a fraction of a second.
    while (!ended.signal.aborted && !(await guest.migration.isBusy(uuid, call)));
    cancel.abort();
    const outcome = await freezing.then(
      () => "done",
      (error: unknown) => (error instanceof AppError ? error.code : String(error)),
    );
    context.diagnostic(`cancelled in its midst, it ended as: ${outcome}`);
    assert.equal(await guest.migration.isBusy(uuid, call), false);
    if (outcome === "done") {
      // Saved before it could be cancelled: the whole snapshot is there, and is taken back.
      const [topPath = "", basePath = ""] = await chain("vdb");
      assert.equal(topPath, overlays.get("vdb"));
      await guest.snapshot.mergeDown(uuid, { target: "vdb", topPath, basePath }, call);
      await Promise.all([unlink(memoryPath), unlink(topPath)]);
    } else {
      assert.equal(outcome, "cancelled");
    }
    assert.deepEqual(await chain("vdb"), before);
    await assert.rejects(access(memoryPath), { code: "ENOENT" });
    assert.equal((await guest.inventory.read(uuid, call)).state, "running");
    assert.equal(await serial.run("rm /tmp/fill; echo still here"), "still here");
    const late = { signal: AbortSignal.abort() };
    await assert.rejects(
      guest.snapshot.freeze(uuid, { overlays, memoryPath, quiesce: false }, late),
      hasCode("cancelled"),
    );
  });

  test("the active layer is merged into the one below, while the guest writes", async () => {
    await using serial = await openSerial();
    await serial.send("while :; do date > /data/clock; done &");
    const [top = "", base = ""] = await chain("vda");
    const progress: number[] = [];
    const onProgress = (done: number, total: number) => progress.push(done / total);
    await guest.snapshot.mergeDown(uuid, { target: "vda", topPath: top, basePath: base }, { signal, onProgress });
    assert.equal((await chain("vda"))[0], base);
    await guest.snapshot.mergeDown(uuid, { target: "vda", topPath: top, basePath: base }, call);
    const { pendingChanges, spec } = await guest.inventory.read(uuid, call);
    assert.equal(spec.disks[0]?.source, base);
    assert.deepEqual(pendingChanges, []);
    await serial.send("kill %1");
    assert.equal(await serial.run("cat /tmp/mark"), "secret-in-memory");
  });

  test("a middle layer is merged into the one below, also of a guest that is paused", () => mergedMiddle(bench()));

  test("a merge that is cancelled leaves the layers; two merges of one layer share one job", async () => {
    await using serial = await openSerial();
    await serial.run("dd if=/dev/urandom of=/dev/vdb bs=1M count=40 oflag=direct", 120_000);
    const [top = "", base = ""] = await chain("vdb");
    const abort = new AbortController();
    const onProgress = () => abort.abort();
    const options = { target: "vdb", topPath: top, basePath: base };
    const cancelled = guest.snapshot.mergeDown(uuid, options, { signal: abort.signal, onProgress });
    const outcome = await cancelled.then(
      () => "merged",
      (error: unknown) => (hasCode("cancelled")(error) ? "cancelled" : "failed"),
    );
    if (outcome === "cancelled") assert.equal((await chain("vdb"))[0], top);
    await Promise.all([guest.snapshot.mergeDown(uuid, options, call), guest.snapshot.mergeDown(uuid, options, call)]);
    assert.equal((await chain("vdb"))[0], base);
  });

  test("a merge that others began is joined, also after the daemon's death in its middle", async () => {
    const overlays = new Map([["vdb", file("s6-vdb.qcow2")]]);
    await guest.snapshot.freeze(uuid, { overlays, quiesce: false }, call);
    {
      await using serial = await openSerial();
      await serial.run("dd if=/dev/urandom of=/dev/vdb bs=1M count=8 oflag=direct");
    }
    const [top = "", base = ""] = await chain("vdb");
    const begin = ["blockcommit", "snap", "vdb", "--active", "--top", top, "--base", base, "--bandwidth", "2"];
    await h1.host.exec(["virsh", ...begin], { signal });
    const options = { target: "vdb", topPath: top, basePath: base };
    const lost = guest.snapshot.mergeDown(uuid, options, call).then(
      () => "merged",
      (error: unknown) => (hasCode("host_unreachable")(error) ? "lost" : "failed"),
    );
    await h1.host.killLibvirtd(signal);
    assert.equal(await lost, "lost");
    await h1.host.startLibvirtd(signal);
    await waitFor("the connection", () => guest.inventory.read(uuid, call).catch(() => undefined), { timeoutMs });
    await guest.snapshot.mergeDown(uuid, options, call);
    assert.equal((await chain("vdb"))[0], base);
    assert.deepEqual((await guest.inventory.read(uuid, call)).pendingChanges, []);
  });

  test("a guest that is off is frozen, reverted to its disks, and merged once started paused", async () => {
    await frozenWhileOff(bench());
    const [source] = await chain("vda");
    await guest.lifecycle.forceOff(uuid, call);
    assert.equal((await guest.inventory.read(uuid, call)).spec.disks[0]?.source, source);
  });
});

/** Migration of a real guest between two real hosts, which counts on while it moves. Needs root. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { MigrationOptions } from "#virtualization/migration/port.ts";
import {
  emptyDisk,
  guestDisk,
  hasCode,
  labHypervisor,
  type LabHypervisor,
  SerialConsole,
  testDefinition,
  testMetadata,
} from "./test-support/lab-hypervisor.ts";

const signal = AbortSignal.timeout(1_800_000);
const call = { signal };

function to(target: LabHypervisor, options: Partial<MigrationOptions> = {}): MigrationOptions {
  return {
    targetUri: target.host.uri,
    copyDisks: [],
    postCopy: false,
    autoConverge: false,
    encrypt: false,
    ...options,
  };
}

suite("migration of a guest", () => {
  let lab: Lab;
  let h1: LabHypervisor;
  let h2: LabHypervisor;
  const definition = testDefinition("mover", { cpu: { count: 1, maxCount: 2 } });
  const { uuid } = definition;
  async function openSerial(host: LabHypervisor): Promise<SerialConsole> {
    return new SerialConsole(await host.guest.console.serial(uuid, { force: true }, call));
  }

  async function has(host: LabHypervisor): Promise<boolean> {
    return (await host.guest.inventory.list(call)).some((guest) => guest.uuid === uuid);
  }

  before(async () => {
    lab = await Lab.up({ name: `move-${process.pid}`, hostCount: 2, signal });
    h1 = await labHypervisor(lab, 0);
    h2 = await labHypervisor(lab, 1);
    const disks = [await guestDisk(lab, "mover")];
    await h1.guest.lifecycle.define({ ...definition, spec: { ...definition.spec, disks } }, call);
  });
  after(async () => {
    await h1?.[Symbol.asyncDispose]();
    await h2?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  test("a guest that is off moves with its definition", async () => {
    await h1.guest.migration.migrateOffline(uuid, { targetUri: h2.host.uri }, call);
    assert.equal(await has(h1), false);
    const moved = await h2.guest.inventory.read(uuid, call);
    assert.deepEqual(moved.metadata, definition.metadata);
    assert.equal(moved.persistent, true);
    await h2.guest.migration.migrateOffline(uuid, { targetUri: h1.host.uri }, call);
    assert.equal(await has(h2), false);
  });

  test("a running guest moves live and goes on counting; it is persistent there and gone here", async () => {
    await h1.guest.lifecycle.start(uuid, {}, call);
    {
      await using serial = await openSerial(h1);
      await serial.expect(/INNKEEPER-GUEST READY/);
      await serial.send("i=0; while :; do i=$((i+1)); echo count $i; usleep 50000; done");
      await serial.expect(/count 5\b/);
    }
    const progress: number[] = [];
    const onProgress = (done: number, total: number) => progress.push(done / total);
    const result = await h1.guest.migration.migrateLive(uuid, to(h2, { maxDowntimeMs: 400 }), { signal, onProgress });
    assert(result.totalMs > 0 && result.transferredBytes > 1024 ** 2, JSON.stringify(result));
    assert(result.downtimeMs > 0 && result.downtimeMs < 10_000, JSON.stringify(result));
    assert(progress.every((part) => part >= 0 && part <= 1));
    assert.equal(await has(h1), false);
    const moved = await h2.guest.inventory.read(uuid, call);
    assert.equal(moved.state, "running");
    assert.equal(moved.stateDetail, "migrated");
    assert.equal(moved.persistent, true);
    assert.deepEqual(moved.pendingChanges, []);
    assert.deepEqual(moved.metadata, definition.metadata);
    await using serial = await openSerial(h2);
    const first = Number((await serial.expect(/count (\d+)\r?\n/))[1]);
    const second = Number((await serial.expect(/count (\d+)\r?\n/))[1]);
    assert(first > 5);
    assert.equal(second, first + 1);
  });

  test("a target that can't be reached leaves the guest running where it was", async () => {
    const nowhere = { ...to(h1), targetUri: "qemu+tls://10.77.0.250/system" };
    await assert.rejects(h2.guest.migration.migrateLive(uuid, nowhere, call), hasCode("host_failed"));
    assert.equal((await h2.guest.inventory.read(uuid, call)).state, "running");
    await assert.rejects(h2.guest.migration.migrateLive(uuid, to(h2), call));
    assert.equal((await h2.guest.inventory.read(uuid, call)).state, "running");
  });

  test("a migration that is cancelled leaves the guest running where it was", async () => {
    await h2.guest.migration.abortMigration(uuid, call);
    const abort = new AbortController();
    const moving = h2.guest.migration.migrateLive(uuid, to(h1, { bandwidthMiBps: 1 }), {
      signal: abort.signal,
      onProgress: () => abort.abort(),
    });
    await assert.rejects(moving, hasCode("cancelled"));
    assert.equal(await has(h1), false);
    assert.equal((await h2.guest.inventory.read(uuid, call)).state, "running");
    const slow = h2.guest.migration.migrateLive(uuid, to(h1, { bandwidthMiBps: 1 }), {
      signal,
      onProgress: () => void h2.guest.migration.abortMigration(uuid, call),
    });
    await assert.rejects(slow, hasCode("cancelled"));
    await using serial = await openSerial(h2);
    await serial.expect(/count \d+/);
  });

  test("a guest moves while it is paused, over TLS, and with post-copy", async () => {
    await h2.guest.lifecycle.suspend(uuid, call);
    await h2.guest.migration.migrateLive(uuid, to(h1, { autoConverge: true, encrypt: true }), call);
    assert.equal((await h1.guest.inventory.read(uuid, call)).state, "paused");
    await h1.guest.lifecycle.resume(uuid, call);
    await h1.guest.migration.migrateLive(uuid, to(h2, { postCopy: true }), call);
    await using serial = await openSerial(h2);
    await serial.expect(/count \d+/);
    assert.equal((await h2.guest.inventory.read(uuid, call)).state, "running");
  });

  test("a disk that is not shared is copied", async () => {
    const local = await emptyDisk(lab, "mover", "vdb", 32);
    const source = "/var/lib/libvirt/images/mover-vdb.qcow2";
    await h2.host.exec(["cp", local.source ?? "", source], { signal });
    await h2.guest.lifecycle.change(uuid, { disksAdd: [{ ...local, source }] }, call);
    const result = await h2.guest.migration.migrateLive(uuid, to(h1, { copyDisks: ["vdb"] }), call);
    assert(result.totalMs > 0);
    await h1.host.exec(["test", "-f", source], { signal });
    assert.equal((await h1.guest.inventory.read(uuid, call)).state, "running");
  });

  test("what a host keeps of a guest that is off goes along: UEFI variables and the TPM's state", async () => {
    const keeper = testDefinition("keeper", { tpm: true, firmware: "uefi", memory: { sizeMiB: 128 } });
    await h1.guest.lifecycle.define({ ...keeper, metadata: testMetadata() }, call);
    assert.deepEqual(await h1.guest.migration.readState(keeper.uuid, call), []);
    await h1.guest.lifecycle.start(keeper.uuid, {}, call);
    await assert.rejects(h1.guest.migration.readState(keeper.uuid, call), hasCode("invalid_state"));
    await h1.guest.lifecycle.forceOff(keeper.uuid, call);
    const files = await h1.guest.migration.readState(keeper.uuid, call);
    assert.equal(files.length, 2);
    assert.deepEqual(
      files.map((file) => file.path),
      (await h1.guest.migration.traits(keeper.uuid, call)).stateFiles,
    );
    const paths = files.map((file) => file.path);
    await h2.guest.migration.writeState(keeper.uuid, files, call);
    await h2.guest.migration.deleteState({ uuid: keeper.uuid, paths }, call);
    const left = await h2.host.exec(["find", ...["nvram", "../swtpm"].map((name) => `/var/lib/libvirt/qemu/${name}`)]);
    assert.doesNotMatch(left.stdout, /keeper|tpm2/);
    await h2.guest.migration.writeState(keeper.uuid, files, call);
    await h1.guest.migration.migrateOffline(keeper.uuid, { targetUri: h2.host.uri }, call);
    await assert.rejects(h2.guest.migration.deleteState({ uuid: keeper.uuid, paths }, call), hasCode("conflict"));
    await assert.rejects(h2.guest.migration.writeState(keeper.uuid, files, call), hasCode("conflict"));
    assert.deepEqual(await h2.guest.migration.readState(keeper.uuid, call), files);
    await h2.guest.lifecycle.start(keeper.uuid, {}, call);
    await h2.guest.lifecycle.forceOff(keeper.uuid, call);
    const outside = [{ path: "/etc/shadow", bytes: new Uint8Array(1) }];
    await assert.rejects(h1.guest.migration.writeState(keeper.uuid, outside, call), hasCode("internal"));
    assert.equal((await h2.host.exec(["virsh", "-q", "pool-list", "--all"])).stdout.trim().split("\n").length, 2);
    await assert.rejects(
      h1.guest.migration.migrateOffline(uuid, { targetUri: h2.host.uri }, call),
      hasCode("invalid_state"),
    );
  });

  test("whether a host reaches another is found out without moving anything", async () => {
    const ask = async (targetUri: string) => (await h1.guest.migration.contact(uuid, { targetUri }, call)).result;
    assert.equal(await ask(h2.host.uri), "reached");
    assert.equal(await ask("qemu+tls://elsewhere/system"), "name-unknown");
    assert.equal(await ask(`qemu+tls://${h2.host.address}:1/system`), "unreachable");
    assert.equal(await has(h2), false);
    assert.equal((await h1.guest.inventory.read(uuid, call)).state, "running");
  });

  test("memory goes to the address of the target's daemon if its own name is not known to the source", async () => {
    await h2.host.exec(["sed", "-i", "/^migration_host/d", "/etc/libvirt/qemu.conf"], { signal });
    await h2.host.exec(["hostname", "nameless"], { signal });
    await h2.host.killLibvirtd(signal);
    await h2.host.startLibvirtd(signal);
    const result = await h1.guest.migration.migrateLive(uuid, to(h2), call);
    assert(result.transferredBytes > 1024 ** 2);
    assert.equal((await h2.guest.inventory.read(uuid, call)).state, "running");
  });

  test("UEFI variables and an emulated TPM move live with the guest", async () => {
    const secure = testDefinition("secure", { firmware: "uefi-secure", tpm: true, memory: { sizeMiB: 256 } });
    await h1.guest.lifecycle.define(secure, call);
    await assert.rejects(h1.guest.migration.migrateLive(secure.uuid, to(h2), call), hasCode("invalid_state"));
    await h1.guest.lifecycle.start(secure.uuid, {}, call);
    await h1.guest.migration.migrateLive(secure.uuid, to(h2), call);
    const moved = await h2.guest.inventory.read(secure.uuid, call);
    assert.equal(moved.state, "running");
    assert.equal(moved.spec.firmware, "uefi-secure");
    assert.deepEqual(moved.pendingChanges, []);
    await h2.guest.lifecycle.forceOff(secure.uuid, call);
    await h2.guest.lifecycle.undefine(secure.uuid, {}, call);
  });
});

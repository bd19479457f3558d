/** Changes of a guest that runs and of one that is off, on a real host with a real guest that tells what it sees. Needs root. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import { AppError } from "#core/app-error.ts";
import type { GuestChange, GuestHypervisor } from "#virtualization/port.ts";
import {
  emptyDisk,
  guestDisk,
  hasCode,
  labHypervisor,
  type LabHypervisor,
  labNic,
  SerialConsole,
  testDefinition,
  testMetadata,
} from "./test-support/lab-hypervisor.ts";

const signal = AbortSignal.timeout(1_800_000);
/** Of one wait for a guest. */
const timeoutMs = 180_000;
const call = { signal };

suite("changes of a guest", () => {
  let lab: Lab;
  let h1: LabHypervisor;
  let guest: GuestHypervisor;
  let serial: SerialConsole;
  const cdrom = { target: "sda", device: "cdrom", bus: "sata", sourceType: "file", format: "raw" } as const;
  const definition = testDefinition("change", {
    cpu: { count: 1, maxCount: 4 },
    memory: { sizeMiB: 256 },
    nics: [labNic()],
  });
  const { uuid } = definition;

  before(async () => {
    lab = await Lab.up({ name: `change-${process.pid}`, hostCount: 1, signal });
    h1 = await labHypervisor(lab, 0);
    guest = h1.guest;
    const disks = [await guestDisk(lab, "change"), cdrom];
    await guest.lifecycle.define({ ...definition, spec: { ...definition.spec, disks } }, call);
    await guest.lifecycle.start(uuid, {}, call);
    serial = new SerialConsole(await guest.console.serial(uuid, { force: false }, call));
    await serial.expect(/INNKEEPER-GUEST READY/);
  });
  after(async () => {
    await serial?.[Symbol.asyncDispose]();
    await h1?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  test("vCPUs are added while it runs, up to the maximum; more waits for the next start", async () => {
    assert.deepEqual(await guest.lifecycle.change(uuid, { cpu: { count: 3 } }, call), {
      applied: ["cpu.count"],
      pending: [],
    });
    const online = "for c in /sys/devices/system/cpu/cpu[0-9]*/online; do echo 1 > $c; done; nproc";
    await waitFor("three CPUs", async () => (await serial.run(online)).endsWith("3") || undefined, { timeoutMs });
    assert.deepEqual(await guest.lifecycle.change(uuid, { cpu: { count: 6, maxCount: 8 } }, call), {
      applied: [],
      pending: ["cpu.count", "cpu.maxCount"],
    });
    const { pendingChanges, spec } = await guest.inventory.read(uuid, call);
    assert.deepEqual(pendingChanges, ["cpu.count", "cpu.maxCount"]);
    assert.equal(spec.cpu.count, 3);
    // Emulated vCPUs do not go while the guest runs.
    const fewer = await guest.lifecycle.change(uuid, { cpu: { count: 2, maxCount: 4 } }, call);
    assert.deepEqual(fewer, { applied: ["cpu.maxCount"], pending: ["cpu.count"] });
    const same = await guest.lifecycle.change(uuid, { cpu: { count: 3 } }, call);
    assert.deepEqual(same, { applied: ["cpu.count"], pending: [] });
  });

  test("pinning is changed and taken away while it runs", async () => {
    const pinned = await guest.lifecycle.change(
      uuid,
      { cpu: { pinning: [{ vcpu: 0, hostCpus: "1" }], emulatorPinning: "0" } },
      call,
    );
    assert.deepEqual(pinned, { applied: ["cpu.emulatorPinning", "cpu.pinning"], pending: [] });
    const { stdout } = await h1.host.exec(["virsh", "vcpupin", "change"], { signal });
    assert.match(stdout, /0\s+1\n/);
    const { applied } = await guest.lifecycle.change(uuid, { cpu: { pinning: [] } }, call);
    assert.deepEqual(applied, ["cpu.pinning"]);
    const beyond = guest.lifecycle.change(uuid, { cpu: { pinning: [{ vcpu: 0, hostCpus: "900" }] } }, call);
    await assert.rejects(beyond, (error: unknown) => error instanceof AppError && error.field === "cpu.pinning");
  });

  test("the balloon takes memory from the guest and gives it back", async () => {
    const before = await totalMiB(serial);
    const change = await guest.lifecycle.change(uuid, { memory: { balloonMiB: 160 } }, call);
    assert.deepEqual(change, { applied: ["memory.balloonMiB"], pending: [] });
    await waitFor("the balloon in the guest", async () => (await totalMiB(serial)) < before - 60 || undefined, {
      timeoutMs,
    });
    await waitFor(
      "the balloon in libvirt",
      async () => (await guest.inventory.read(uuid, call)).spec.memory.balloonMiB === 160 || undefined,
      { timeoutMs },
    );
    await guest.lifecycle.change(uuid, { memory: { balloonMiB: 256 } }, call);
    await waitFor("all memory in the guest", async () => (await totalMiB(serial)) === before || undefined, {
      timeoutMs,
    });
    const grown = await guest.lifecycle.change(uuid, { memory: { sizeMiB: 320 } }, call);
    assert.deepEqual(grown, { applied: [], pending: ["memory.sizeMiB"] });
    await guest.lifecycle.change(uuid, { memory: { sizeMiB: 256 } }, call);
    assert.deepEqual((await guest.inventory.read(uuid, call)).pendingChanges, []);
  });

  test("disks are added, limited, grown and removed while it runs", async () => {
    const disk = { ...(await emptyDisk(lab, "change", "vdb")), serialNumber: "hot-1" };
    const added = await guest.lifecycle.change(uuid, { disksAdd: [disk] }, call);
    assert.deepEqual(added.applied, ["disks.vdb"]);
    await waitFor("the disk", async () => (await serial.run("cat /sys/block/vdb/size")) === "32768" || undefined, {
      timeoutMs,
    });
    await assert.rejects(guest.lifecycle.change(uuid, { disksAdd: [disk] }, call), hasCode("invalid_field"));
    const ioLimit = { totalBytesPerSecond: 1_048_576, readIops: 100 };
    await guest.lifecycle.change(uuid, { disksChange: [{ target: "vdb", ioLimit }] }, call);
    const { stdout } = await h1.host.exec(["virsh", "blkdeviotune", "change", "vdb"], { signal });
    assert.match(stdout, /total_bytes_sec:\s*1048576/);
    assert.deepEqual(diskOf(await guest.inventory.read(uuid, call), "vdb")?.ioLimit, ioLimit);
    const capacityBytes = 32 * 1024 ** 2;
    const grown = await guest.lifecycle.change(uuid, { disksChange: [{ target: "vdb", capacityBytes }] }, call);
    assert.deepEqual(grown.applied, ["disks.vdb.capacityBytes"]);
    await waitFor(
      "the grown disk",
      async () => (await serial.run("cat /sys/block/vdb/size")) === "65536" || undefined,
      { timeoutMs },
    );
    const shrink = guest.lifecycle.change(uuid, { disksChange: [{ target: "vdb", capacityBytes: 1024 }] }, call);
    await assert.rejects(shrink, hasCode("invalid_field"));
    const removed = await guest.lifecycle.change(uuid, { disksRemove: ["vdb"] }, call);
    assert.deepEqual(removed, { applied: ["disks.vdb"], pending: [] });
    assert.equal(await serial.run("ls /sys/block | grep vdb"), "");
    await assert.rejects(guest.lifecycle.change(uuid, { disksRemove: ["vdb"] }, call), hasCode("invalid_field"));
  });

  test("a SCSI disk brings its controller; a SATA disk waits for the next start", async () => {
    const scsi = { ...(await emptyDisk(lab, "change", "sdb")), bus: "scsi" };
    assert.deepEqual((await guest.lifecycle.change(uuid, { disksAdd: [scsi] }, call)).applied, ["disks.sdb"]);
    const xml = await guest.inventory.xml(uuid, { inactive: false }, call);
    assert.match(xml, /<controller type='scsi' index='0' model='virtio-scsi'>/);
    await guest.lifecycle.change(uuid, { disksRemove: ["sdb"] }, call);
    const sata = { ...(await emptyDisk(lab, "change", "sdc")), bus: "sata" };
    const added = await guest.lifecycle.change(uuid, { disksAdd: [sata] }, call);
    assert.deepEqual(added, { applied: [], pending: ["disks.sdc"] });
    assert.deepEqual((await guest.inventory.read(uuid, call)).pendingChanges, ["disks.sdc"]);
    await guest.lifecycle.change(uuid, { disksRemove: ["sdc"] }, call);
    assert.deepEqual((await guest.inventory.read(uuid, call)).pendingChanges, []);
  });

  test("media are inserted and ejected", async () => {
    const source = path.join(lab.sharedFolder, "medium.iso");
    await writeFile(source, Buffer.alloc(2 * 1024 ** 2, "I"));
    const inserted = await guest.lifecycle.change(uuid, { disksChange: [{ target: "sda", source }] }, call);
    assert.deepEqual(inserted, { applied: ["disks.sda.format", "disks.sda.source"], pending: [] });
    const ejected = await guest.lifecycle.change(uuid, { disksChange: [{ target: "sda", source: null }] }, call);
    assert.deepEqual(ejected.pending, []);
    assert.equal(diskOf(await guest.inventory.read(uuid, call), "sda")?.source, undefined);
    const wrong = guest.lifecycle.change(uuid, { disksChange: [{ target: "vda", source }] }, call);
    await assert.rejects(wrong, hasCode("invalid_field"));
  });

  test("NICs: the cable is pulled and plugged, one is added, moved and removed", async () => {
    const mac = definition.spec.nics[0]?.mac ?? "";
    const pulled = await guest.lifecycle.change(uuid, { nicsChange: [{ mac, linkUp: false }] }, call);
    assert.deepEqual(pulled, { applied: [`nics.${mac}.linkUp`], pending: [] });
    await waitFor("a link that is down", async () => (await carrier(serial)) === "0" || undefined, { timeoutMs });
    await guest.lifecycle.change(uuid, { nicsChange: [{ mac, linkUp: true }] }, call);
    await waitFor("a link that is up", async () => (await carrier(serial)) === "1" || undefined, { timeoutMs });
    const nic = labNic();
    assert.deepEqual((await guest.lifecycle.change(uuid, { nicsAdd: [nic] }, call)).applied, [`nics.${nic.mac}`]);
    await waitFor(
      "the card",
      async () => (await serial.run("cat /sys/class/net/*/address")).includes(nic.mac) || undefined,
      { timeoutMs },
    );
    const moved = await guest.lifecycle.change(uuid, { nicsChange: [{ mac: nic.mac, network: "lab" }] }, call);
    assert.deepEqual(moved, { applied: [`nics.${nic.mac}.network`], pending: [] });
    const nowhere = guest.lifecycle.change(uuid, { nicsChange: [{ mac: nic.mac, network: "nowhere" }] }, call);
    await assert.rejects(nowhere, AppError);
    assert.equal((await guest.inventory.read(uuid, call)).spec.nics[1]?.network, "lab");
    const removed = await guest.lifecycle.change(uuid, { nicsRemove: [nic.mac] }, call);
    assert.deepEqual(removed, { applied: [`nics.${nic.mac}`], pending: [] });
  });

  test("hardware waits for the next start, autostart and metadata do not; others' metadata stays", async () => {
    const foreign = ["--uri", "http://example.org/x", "--key", "x", "--set", "<x>kept</x>"];
    await h1.host.exec(["virsh", "metadata", "change", ...foreign, "--live", "--config"], { signal });
    const metadata = testMetadata({
      description: "hello",
      tags: ["t"],
      snapshots: [{ id: "snap-1", name: "a<b>&\u0001" }],
      currentSnapshotId: "snap-1",
    });
    const change = {
      metadata,
      hardware: { graphics: "vnc", tpm: true, autostart: true },
      memory: { shares: 2000 },
    } as const;
    const { applied, pending } = await guest.lifecycle.change(uuid, change, call);
    assert.deepEqual(applied, ["memory.shares", "autostart"]);
    assert.deepEqual(pending, ["graphics", "tpm", "video"]);
    const read = await guest.inventory.read(uuid, call);
    assert.deepEqual(read.metadata, metadata);
    assert.equal(read.autostart, true);
    assert.equal(read.description, "hello");
    assert.deepEqual(read.pendingChanges, ["graphics", "tpm", "video"]);
    await guest.lifecycle.change(uuid, { metadata: { ...metadata, description: "", tags: [] } }, call);
    for (const inactive of [true, false]) {
      const xml = await guest.inventory.xml(uuid, { inactive }, call);
      assert.match(xml, /<x:x xmlns:x="http:\/\/example.org\/x">kept<\/x:x>/);
      assert.match(xml, /memoryShares="2000"/);
      assert.doesNotMatch(xml, /hello/);
    }
    const back = { graphics: "none", video: "none", tpm: false, autostart: false } as const;
    await guest.lifecycle.change(uuid, { hardware: back }, call);
    assert.deepEqual((await guest.inventory.read(uuid, call)).pendingChanges, []);
  });

  test("a change that fails half-way is taken back as a whole", async () => {
    const before = await guest.inventory.read(uuid, call);
    const missing = {
      ...(await emptyDisk(lab, "change", "vdc")),
      source: path.join(lab.sharedFolder, "missing.qcow2"),
    };
    const change = { cpu: { emulatorPinning: "1" }, disksAdd: [missing] };
    await assert.rejects(guest.lifecycle.change(uuid, change, call), hasCode("host_failed"));
    assert.deepEqual(await guest.inventory.read(uuid, call), before);
    assert.equal(before.spec.cpu.emulatorPinning, "0");
  });

  test("limits that the host can't enforce are refused, and the guest can still be started", async () => {
    const before = await guest.inventory.read(uuid, call);
    // Lab hosts have no cgroups.
    await assert.rejects(guest.lifecycle.change(uuid, { cpu: { limitPct: 50, shares: 512 } }, call), AppError);
    assert.deepEqual(await guest.inventory.read(uuid, call), before);
  });

  test("a guest that is off takes every change at once, and what is not modelled stays", async () => {
    await guest.lifecycle.forceOff(uuid, call);
    const xml = (await guest.inventory.xml(uuid, { inactive: true }, call)).replace(
      "<domain type='qemu'>",
      "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>" +
        "<qemu:commandline><qemu:env name='INN' value='1'/></qemu:commandline>",
    );
    await guest.lifecycle.defineXml(xml, {}, call);
    const change = {
      cpu: { count: 2, maxCount: 4, topology: { sockets: 2, cores: 2, threads: 1 } },
      memory: { sizeMiB: 300, locked: false },
      hardware: { ioThreads: 2, video: "vga", graphics: "vnc" },
      disksChange: [{ target: "sda", bootOrder: 1 }],
    } as const;
    const { applied, pending } = await guest.lifecycle.change(uuid, change, call);
    assert.deepEqual(pending, []);
    for (const field of ["cpu.topology", "memory.sizeMiB", "ioThreads", "video", "disks.sda.bootOrder"]) {
      assert(applied.includes(field), `${field} in ${applied.join(", ")}`);
    }
    const { spec } = await guest.inventory.read(uuid, call);
    assert.deepEqual(spec.cpu.topology, { sockets: 2, cores: 2, threads: 1 });
    assert.equal(diskOf({ spec }, "vda")?.bootOrder, 2);
    assert.match(await guest.inventory.xml(uuid, { inactive: true }, call), /<qemu:env name='INN' value='1'\/>/);
    const grow = guest.lifecycle.change(uuid, { disksChange: [{ target: "vda", capacityBytes: 2 ** 40 }] }, call);
    await assert.rejects(grow, hasCode("invalid_state"));
    const { applied: none } = await guest.lifecycle.change(uuid, { hardware: { serial: false, video: "vga" } }, call);
    assert.deepEqual(none, ["serial"]);
    await guest.lifecycle.start(uuid, { paused: true }, call);
    await assert.rejects(guest.console.serial(uuid, { force: true }, call), hasCode("unsupported"));
  });

  test("what libvirt makes of a definition is known as such, until someone changes it", async () => {
    const known = testDefinition("outcome", { nics: [labNic()] });
    await guest.lifecycle.define(known, call);
    const inactive = (): Promise<string> => guest.inventory.xml(known.uuid, { inactive: true }, call);
    let meant = "";
    const witness = { meant: async (xml: string) => void (meant = xml), defined: async () => {} };
    let beforeXml = await inactive();
    const isOutcome = (): Promise<boolean> => guest.inventory.isOutcome(known.uuid, { meant, before: beforeXml }, call);
    const change = {
      cpu: { count: 2, maxCount: 4, pinning: [{ vcpu: 0, hostCpus: "0" }] },
      memory: { sizeMiB: 300 },
      hardware: { ioThreads: 2, video: "vga", graphics: "vnc", guestAgent: true, serial: true },
      disksAdd: [{ ...(await emptyDisk(lab, "outcome", "sdq")), bus: "scsi" }, await emptyDisk(lab, "outcome", "vdq")],
      nicsAdd: [labNic()],
    } satisfies GuestChange;
    await guest.lifecycle.change(known.uuid, change, call, witness);
    assert.equal(await isOutcome(), true, `${meant}\n${await inactive()}`);

    beforeXml = await inactive();
    const document = beforeXml
      .replace(/<memory unit='KiB'>\d+</, "<memory unit='MiB'>400<")
      .replace(
        "</devices>",
        "<sound model='ich9'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices>",
      );
    const edit = { from: beforeXml, document, metadata: known.metadata };
    await guest.lifecycle.edit(known.uuid, edit, call, witness);
    const made = await inactive();
    assert.equal(await isOutcome(), true, `${meant}\n${made}`);

    await guest.lifecycle.defineXml(beforeXml, {}, call, witness);
    assert.equal(await isOutcome(), true, `${meant}\n${await inactive()}`);
    await guest.lifecycle.edit(known.uuid, edit, call, witness);
    const byHand: readonly (readonly [RegExp, string])[] = [
      [/<on_crash>\w+</, "<on_crash>preserve<"],
      [/<name>/, "<title>by hand</title><name>"],
      [/>409600</g, ">409601<"],
      [/<rng [^]*<\/rng>/, ""],
      [/<disk [^]*?<\/disk>/, ""],
      [/<\/devices>/, "<watchdog model='i6300esb' action='poweroff'/></devices>"],
      [/<\/devices>/, "<rng model='virtio'><backend model='random'>/dev/random</backend></rng></devices>"],
      [/(controller='2' bus='0' target='0') unit='2'/, "$1 unit='3'"],
      [/<target dev='sdq'[^>]*>/, "$&<serial>S1</serial>"],
    ];
    for (const [there, instead] of byHand) {
      await guest.lifecycle.defineXml(made.replace(there, instead), {}, call);
      assert.notEqual(await inactive(), made, String(there));
      assert.equal(await isOutcome(), false, String(there));
    }
    await guest.lifecycle.undefine(known.uuid, {}, call);
  });

  test("two changes at one moment: one wins, the other is told", async () => {
    const sizes = [101, 102, 103, 104].map((sizeMiB) => guest.lifecycle.change(uuid, { memory: { sizeMiB } }, call));
    const outcomes = await Promise.allSettled(sizes);
    const lost = outcomes.filter((outcome) => outcome.status === "rejected");
    assert(lost.length < sizes.length);
    for (const { reason } of lost) assert.equal(reason.code, "conflict");
  });
});

async function totalMiB(serial: SerialConsole): Promise<number> {
  return Number((await serial.run("free -m | grep Mem")).split(/\s+/)[1]);
}

async function carrier(serial: SerialConsole): Promise<string> {
  return await serial.run("cat /sys/class/net/eth0/carrier");
}

function diskOf(
  guest: { readonly spec: Awaited<ReturnType<GuestHypervisor["inventory"]["read"]>>["spec"] },
  target: string,
) {
  return guest.spec.disks.find((disk) => disk.target === target);
}

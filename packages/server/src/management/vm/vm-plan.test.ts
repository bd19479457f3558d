/** What a new VM is refused for, by the field that is at fault, and what it becomes where the request says nothing. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import { Fleet } from "#management/test-support/fleet.ts";
import { planVm } from "./vm-plan.ts";

const plain: VmCreate = { name: "web1", memory: { sizeMiB: 1024 } };
const gib = 1024 ** 3;

async function twoHosts(): Promise<Fleet> {
  const fleet = await Fleet.open();
  for (const name of ["c1", "empty"]) await fleet.cluster(name);
  const h1 = await fleet.host("h1", { clusterId: fleet.inventory.require("cluster", "c1").id });
  await fleet.host("h2", { usage: { memoryFreeMiB: 4096, cpuLoadPct: 1, sampledAt: "2026-01-01T00:00:00.000Z" } });
  await fleet.image(h1, "local", "debian");
  await fleet.image(h1, "shared", "everywhere");
  await fleet.vm(h1, "taken");
  await fleet.volume(h1, "shared", "taken.qcow2");
  await fleet.volume(h1, "local", "free.qcow2");
  return fleet;
}

const refused: readonly [what: string, change: Partial<VmCreate>, code: string, field: string, words: RegExp][] = [
  ["a name that is taken", { name: "taken" }, "name_taken", "name", /already a VM "taken", on host h1/],
  ["a name with markup", { name: "a<b>" }, "invalid_field", "name", /must not have any of/],
  ["an unknown cluster", { cluster: "c9" }, "not_found", "cluster", /no cluster "c9"/],
  ["a cluster without hosts", { cluster: "empty" }, "insufficient_resources", "cluster", /no host of cluster empty/],
  ["a host of another cluster", { host: "h2", cluster: "c1" }, "invalid_field", "host", /h2 is not in cluster c1/],
  [
    "more memory than a cluster's hosts have free",
    { cluster: "c1", memory: { sizeMiB: 9000 }, start: true },
    "insufficient_resources",
    "cluster",
    /^No host of cluster c1 can take VM web1\. Host h1 has 8192 MiB/,
  ],
  ["an unknown host", { host: "h9" }, "not_found", "host", /no host "h9"/],
  ["more memory than any host has", { memory: { sizeMiB: 20000 } }, "invalid_field", "memory.sizeMiB", /16384 MiB/],
  [
    "a balloon above the size",
    { memory: { sizeMiB: 512, balloonMiB: 600 } },
    "invalid_field",
    "memory.balloonMiB",
    /512/,
  ],
  [
    "NUMA cells that do not add up",
    { memory: { sizeMiB: 512, numaCells: [{ cpus: "0", memoryMiB: 256 }] } },
    "invalid_field",
    "memory.numaCells",
    /256 MiB together/,
  ],
  ["more vCPUs than CPUs", { cpu: { count: 9 } }, "invalid_field", "cpu.count", /8 logical CPUs/],
  [
    "more vCPUs than maxCount",
    { cpu: { count: 4, maxCount: 2 } },
    "invalid_field",
    "cpu.count",
    /more than cpu.maxCount/,
  ],
  [
    "a topology of another size",
    { cpu: { count: 4, topology: { sockets: 1, cores: 3, threads: 1 } } },
    "invalid_field",
    "cpu.topology",
    /is 3, but the VM has 4/,
  ],
  [
    "a pin to a CPU that is not there",
    { cpu: { count: 1, pinning: [{ vcpu: 0, hostCpus: "9" }] } },
    "invalid_field",
    "cpu.pinning[0].hostCpus",
    /no CPU 9/,
  ],
  [
    "a pin of a vCPU that is not there",
    { cpu: { count: 1, pinning: [{ vcpu: 1, hostCpus: "1" }] } },
    "invalid_field",
    "cpu.pinning[0].vcpu",
    /no vCPU 1/,
  ],
  ["an unknown CPU model", { cpu: { count: 1, model: "Pentium9" } }, "unsupported", "cpu.model", /Pentium9/],
  ["an unknown machine type", { machine: "pc-q35-99" }, "unsupported", "machine", /pc-q35-99/],
  ["firmware that is not installed", { firmware: "uefi-secure" }, "unsupported", "firmware", /it has: bios, uefi/],
  ["a network that is not there", { nics: [{ network: "dmz" }] }, "not_found", "nics[0].network", /no network dmz/],
  ["a card on nothing", { nics: [{}] }, "invalid_field", "nics[0]", /exactly one/],
  [
    "a multicast MAC",
    { nics: [{ network: "default", mac: "01:00:5e:00:00:01" }] },
    "invalid_field",
    "nics[0].mac",
    /multicast/,
  ],
  [
    "a MAC of another VM",
    { nics: [{ network: "default", mac: "52:54:00:00:00:01" }] },
    "conflict",
    "nics[0].mac",
    /VM taken/,
  ],
  [
    "the same MAC twice",
    {
      nics: [
        { network: "default", mac: "52:54:00:aa:00:01" },
        { network: "default", mac: "52:54:00:AA:00:01" },
      ],
    },
    "invalid_field",
    "nics[1].mac",
    /twice/,
  ],
  [
    "a first start's document without one that stays",
    { installXml: "<domain/>", start: true },
    "invalid_field",
    "installXml",
    /needs domainXml/,
  ],
  [
    "a first start's document without a start",
    { installXml: "<domain/>", domainXml: "<domain/>" },
    "invalid_field",
    "installXml",
    /needs start/,
  ],
  [
    "a volume's name that is taken",
    { host: "h1", disks: [{ capacityBytes: gib, pool: "local", volumeName: "free.qcow2" }] },
    "name_taken",
    "disks[0].volumeName",
    /has a volume free.qcow2 already/,
  ],
  [
    "a volume's name with a folder in it",
    { disks: [{ capacityBytes: gib, pool: "local", volumeName: "../x" }] },
    "invalid_field",
    "disks[0].volumeName",
    /must not/,
  ],
  [
    "a name for an image's copy",
    { disks: [{ image: "debian", volumeName: "x" }] },
    "invalid_field",
    "disks[0].volumeName",
    /new disks of capacityBytes only/,
  ],
  [
    "a disk that is ejected",
    { disks: [{ capacityBytes: gib, ejectAfterInstall: true }] },
    "invalid_field",
    "disks[0].ejectAfterInstall",
    /Only drives/,
  ],
  ["a disk of nothing", { disks: [{}] }, "invalid_field", "disks[0]", /needs one of/],
  ["two sources", { disks: [{ image: "debian", path: "/x" }] }, "invalid_field", "disks[0].path", /only one/],
  ["an image that is missing", { disks: [{ image: "nope" }] }, "not_found", "disks[0].image", /no image "nope"/],
  [
    "a disk smaller than its image",
    { disks: [{ image: "debian", capacityBytes: gib }] },
    "invalid_field",
    "disks[0].capacityBytes",
    /must not be smaller/,
  ],
  [
    "a disk larger than its pool",
    { disks: [{ capacityBytes: 200 * gib }] },
    "insufficient_resources",
    "disks[0].capacityBytes",
    /100 GiB in all/,
  ],
  [
    "a pool that is missing",
    { disks: [{ capacityBytes: gib, pool: "fast" }] },
    "not_found",
    "disks[0].pool",
    /no storage pool fast/,
  ],
  [
    "a disk name twice",
    {
      disks: [
        { capacityBytes: gib, target: "vda" },
        { capacityBytes: gib, target: "vda" },
      ],
    },
    "invalid_field",
    "disks[1].target",
    /twice/,
  ],
  [
    "a disk name of another bus",
    { disks: [{ capacityBytes: gib, target: "vda", bus: "scsi" }] },
    "invalid_field",
    "disks[0].target",
    /sda/,
  ],
  ["a CD-ROM on virtio", { disks: [{ device: "cdrom", bus: "virtio" }] }, "invalid_field", "disks[0].bus", /virtio/],
  [
    "a boot order twice",
    { disks: [{ capacityBytes: gib, bootOrder: 1 }], nics: [{ network: "default", bootOrder: 1 }] },
    "invalid_field",
    "nics[0].bootOrder",
    /Boot order 1/,
  ],
  [
    "an I/O thread that is not there",
    { disks: [{ capacityBytes: gib, ioThread: 1 }] },
    "invalid_field",
    "disks[0].ioThread",
    /ioThreads is 0/,
  ],
  [
    "another VM's disk",
    { host: "h1", disks: [{ path: "/srv/shared/taken.qcow2" }] },
    "conflict",
    "disks[0].path",
    /disk of VM taken/,
  ],
  [
    "an image to write to",
    { host: "h1", disks: [{ path: "/srv/local/debian.qcow2" }] },
    "conflict",
    "disks[0].path",
    /image debian/,
  ],
  [
    "a path outside of every pool",
    { host: "h1", disks: [{ path: "/etc/shadow" }] },
    "not_found",
    "disks[0].path",
    /no volume \/etc\/shadow/,
  ],
  [
    "a path that climbs out of its pool",
    { host: "h1", disks: [{ path: "/srv/local/../../etc/shadow" }] },
    "not_found",
    "disks[0].path",
    /no volume/,
  ],
  [
    "a linked disk on an image elsewhere",
    { host: "h2", disks: [{ image: "debian", linked: true }] },
    "unsupported",
    "disks[0].linked",
    /does not share/,
  ],
];

describe("a new VM", () => {
  for (const [what, change, code, field, words] of refused) {
    test(`is refused: ${what}`, async () => {
      await using fleet = await twoHosts();
      const error = refusal(() => planVm(fleet.inventory, { ...plain, ...change }));
      assert.equal(`${error.code} ${error.field}`, `${code} ${field}`, error.message);
      assert.match(error.message, words);
    });
  }

  test("is refused on a host in maintenance, or not connected, and the reason says so", async () => {
    await using fleet = await Fleet.open();
    await fleet.host("h1", { maintenance: true });
    await fleet.host("h2", { connectionState: "unreachable", connectionDetail: "no route" });
    assert.match(refusal(() => planVm(fleet.inventory, { ...plain, host: "h1" })).message, /in maintenance/);
    const away = refusal(() => planVm(fleet.inventory, { ...plain, host: "h2" }));
    assert.equal(away.code, "host_unreachable");
    assert.match(away.message, /no route/);
    const nowhere = refusal(() => planVm(fleet.inventory, plain));
    assert.equal(nowhere.code, "insufficient_resources");
    assert.match(nowhere.message, /h1 is in maintenance.*h2 is not connected/);
  });

  test("goes to a host of the cluster that is named, wherever most memory is free", async () => {
    await using fleet = await twoHosts();
    const usage = { memoryFreeMiB: 12_000, cpuLoadPct: 1, sampledAt: "2026-01-01T00:00:00.000Z" };
    await fleet.host("h3", { usage, clusterId: (await fleet.cluster("c3")).id });
    assert.equal(planVm(fleet.inventory, plain).placement.hostName, "h3");
    const { placement } = planVm(fleet.inventory, { ...plain, cluster: "c1" });
    assert.equal(placement.hostName, "h1");
    assert.deepEqual(placement.rejected, [], "other hosts are no candidates");
    assert.equal(planVm(fleet.inventory, { ...plain, host: "h1", cluster: "c1" }).placement.hostName, "h1");
  });

  test("goes where most memory is free, and says why not elsewhere", async () => {
    await using fleet = await twoHosts();
    const { placement } = planVm(fleet.inventory, plain);
    assert.equal(placement.hostName, "h1");
    assert.match(placement.reasons[0] ?? "", /8192 MiB free/);
    assert.match(placement.rejected[0]?.reason ?? "", /less free memory \(4096 MiB\)/);
    const elsewhere = planVm(fleet.inventory, { ...plain, host: "h2", disks: [{ image: "debian" }] });
    assert.equal(elsewhere.disks[0]?.origin.kind, "transfer");
  });

  test("gets what a modern guest needs", async () => {
    await using fleet = await twoHosts();
    const { spec, disks, vm } = planVm(fleet.inventory, {
      ...plain,
      disks: [{ image: "everywhere", linked: true }, { capacityBytes: gib }, { device: "cdrom" }],
      nics: [{ network: "default" }],
    });
    assert.equal(spec.domainType, "kvm");
    assert.deepEqual(spec.cpu, { count: 1, model: "host-model" });
    assert.equal(spec.machine, "q35");
    assert.equal(spec.firmware, "bios");
    assert.deepEqual([spec.serial, spec.graphics, spec.guestAgent, spec.balloon], [true, "vnc", true, true]);
    assert.match(spec.nics[0]?.mac ?? "", /^52:54:00:/);
    assert.deepEqual(
      disks.map(({ disk, origin }) => [disk.target, disk.bus, origin.kind]),
      [
        ["vda", "virtio", "overlay"],
        ["vdb", "virtio", "new"],
        ["sda", "sata", "empty"],
      ],
    );
    const [first] = disks;
    assert(first?.origin.kind === "overlay");
    assert.equal(first.origin.poolName, "shared");
    assert.equal(first.origin.volumeName, `web1-${vm.id.slice(3)}-vda.qcow2`);
  });

  test("runs without KVM where KVM was not seen to run a guest", async () => {
    await using fleet = await Fleet.open();
    await fleet.host("h1", { hardwareChange: { kvm: { advertised: true, usable: false, detail: "hangs" } } });
    assert.equal(planVm(fleet.inventory, plain).spec.domainType, "qemu");
    assert.equal(planVm(fleet.inventory, plain).spec.cpu.model, "qemu64");
    const error = refusal(() => planVm(fleet.inventory, { ...plain, cpu: { count: 1, model: "host-passthrough" } }));
    assert.match(error.message, /without KVM/);
  });

  test("takes a volume that is free, and none that lies under another", async () => {
    await using fleet = await twoHosts();
    const h1 = fleet.inventory.require("host", "h1");
    const request: VmCreate = { ...plain, host: "h1", disks: [{ path: "/srv/local/free.qcow2" }] };
    assert.equal(planVm(fleet.inventory, request).disks[0]?.origin.kind, "existing");
    await fleet.volume(h1, "local", "above.qcow2", { backingPath: "/srv/local/free.qcow2" });
    assert.match(refusal(() => planVm(fleet.inventory, request)).message, /above.qcow2 lies on/);
  });
});

function refusal(work: () => unknown): AppError {
  try {
    work();
  } catch (error) {
    assert(error instanceof AppError, String(error));
    return error;
  }
  return assert.fail("it was not refused");
}

/** Reasons that lie in devices, disks, networks, and what the target has left to give. */
import {
  otherUuid,
  secretUuid,
  nic,
  disk,
  local,
  shared,
  makeImage,
  localImage,
  virsh,
  define,
  totalMiB,
  pretendHardware,
  poolOfSize,
  graphics,
  encryptedDisk,
  defineSecret,
  undefineSecret,
} from "./migration-row-part.ts";
import { domainXml, onHost, type MigrationRow } from "./migration-row.ts";

export const deviceRows: readonly MigrationRow[] = [
  {
    check: "device",
    severity: "warning",
    what: "a PCI device of its host, while it is off",
    words: /Device pci 0000:06:00.0 is passed through/,
    devices: () =>
      "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='6' slot='0' function='0'/></source></hostdev>",
  },
  {
    check: "device",
    severity: "error",
    what: "an NVMe disk of its host, even while it is off",
    words: /Device vda is an NVMe device of its host/,
    devices: () =>
      "<disk type='nvme' device='disk'><driver name='qemu' type='raw'/><source type='pci' managed='yes' namespace='1'><address domain='0' bus='6' slot='0' function='0'/></source><target dev='vda' bus='virtio'/></disk>",
  },
  {
    check: "port",
    severity: "error",
    what: "graphics on an address that only the source has",
    words: /graphics vnc listens on [\d.]+, which is an address of host h1/,
    live: true,
    devices: ({ h1 }) => graphics("autoport='yes'", h1.address),
  },
  {
    check: "port",
    severity: "warning",
    what: "a serial port on an address that the target may not have",
    words: /serial listens on 192.0.2.7; whether host h2 has/,
    devices: () => "<serial type='tcp'><source mode='bind' host='192.0.2.7' service='4555'/></serial>",
  },
  {
    check: "port",
    severity: "error",
    what: "a fixed port that a VM of the target has",
    words: /graphics vnc has the fixed port 5977, which graphics vnc of VM other has on host h2/,
    live: true,
    devices: () => graphics("port='5977' autoport='no'", "127.0.0.1"),
    before: ({ h2 }) => {
      const xml = domainXml(otherUuid, {}, graphics("port='5977' autoport='no'", "0.0.0.0"));
      return onHost(h2, define("create", xml.replace("<name>row<", "<name>other<")), virsh("destroy other"));
    },
  },
  {
    check: "device",
    severity: "warning",
    what: "a folder of its host",
    words: /Device data is a folder of its host \(9p\)/,
    live: true,
    devices: () => "<filesystem type='mount'><source dir='/srv'/><target dir='data'/></filesystem>",
  },
  {
    check: "device",
    severity: "error",
    what: "memory shared with others",
    words: /Device common is memory that the VM shares/,
    live: true,
    devices: () => "<shmem name='common' role='peer'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>",
  },
  {
    check: "device",
    severity: "warning",
    what: "a device file of its host",
    words: /Device \/dev\/null is a device file/,
    live: true,
    devices: () => "<serial type='dev'><source path='/dev/null'/></serial>",
  },
  {
    check: "disk",
    severity: "error",
    what: "a disk that is not shared",
    words: /Disk vda .*h2 does not reach it/,
    devices: () => disk(local),
    before: localImage(["h1"]),
  },
  {
    check: "disk",
    severity: "info",
    what: "a disk that is copied",
    words: /Disk vda .*is copied: up to /,
    live: true,
    request: { copyDisks: true },
    devices: () => disk(local),
    before: localImage(["h1"]),
  },
  {
    check: "disk",
    severity: "error",
    what: "a copy whose name is taken",
    words: /h2 has another file of that name/,
    request: { copyDisks: true },
    devices: () => disk(local),
    before: localImage(["h1", "h2"]),
  },
  {
    check: "disk",
    severity: "error",
    what: "a copy for which the target has no pool",
    words: /no running pool at the same path/,
    request: { copyDisks: true },
    devices: () => disk("/run/row.qcow2"),
    before: ({ h1 }) => onHost(h1, makeImage("/run/row.qcow2"), "rm /run/row.qcow2"),
  },
  {
    check: "disk",
    severity: "error",
    what: "a copy for which the target has no room",
    words: /has 8 MiB; pool small of host h2 has .* free/,
    request: { copyDisks: true },
    devices: () => disk("/var/lib/libvirt/small/row.raw", "", "raw"),
    before: (scene) => poolOfSize(scene, [32, 4]),
  },
  {
    check: "disk",
    severity: "error",
    what: "two copies for which the target has no room together",
    words: /Disks vda, vdb have 16 MiB; pool small of host h2 has .* free/,
    request: { copyDisks: true },
    devices: () =>
      `${disk("/var/lib/libvirt/small/row.raw", "", "raw")}${disk("/var/lib/libvirt/small/other.raw", "", "raw").replace("'vda'", "'vdb'")}`,
    before: (scene) => poolOfSize(scene, [32, 12]),
  },
  {
    check: "disk",
    severity: "error",
    what: "a medium that is not shared",
    words: /Disk sda .*h2 does not reach it/,
    devices: () => disk("/run/row.iso", "<readonly/>", "raw", "cdrom"),
    before: ({ h1 }) => onHost(h1, "truncate -s 1M /run/row.iso", "rm /run/row.iso"),
  },
  {
    check: "disk",
    severity: "error",
    what: "a shared disk with cache mode unsafe",
    words: /cache mode unsafe/,
    live: true,
    devices: (scene) => disk(shared(scene), "", "qcow2", "disk", "cache='unsafe'"),
    before: async (scene) => onHost(scene.h1, makeImage(shared(scene)), `rm -f ${shared(scene)}`),
  },
  {
    check: "device",
    severity: "error",
    what: "a transient disk",
    words: /Device vda is transient/,
    live: true,
    devices: (scene) => disk(shared(scene), "<transient/>"),
    before: async (scene) => onHost(scene.h1, makeImage(shared(scene)), `rm -f ${shared(scene)}*`),
  },
  {
    check: "snapshot",
    severity: "error",
    what: "files of a snapshot that the target does not reach",
    words: /Snapshot s1 has files that host h2 does not reach: \/var\/lib\/libvirt\/images\/row.qcow2/,
    live: true,
    request: { copyDisks: true },
    devices: () => disk(local),
    before: localImage(["h1"]),
    after: async ({ plane }, { id: vmId }) => {
      const made = { vmId, request: { name: "s1" } };
      const { snapshotId } = await plane.succeed<{ snapshotId: string }>("snapshot.create", made);
      return () => plane.succeed("snapshot.delete", { vmId, snapshotId });
    },
  },
  {
    check: "snapshot",
    severity: "error",
    what: "snapshots in libvirt's keeping",
    words: /snapshots in libvirt's own keeping/,
    devices: (scene) => disk(shared(scene)),
    before: async (scene) => onHost(scene.h1, makeImage(shared(scene)), `rm -f ${shared(scene)}`),
    after: async ({ h1, plane }, vm) => {
      const undo = await onHost(h1, virsh("snapshot-create-as row s1"), virsh("snapshot-delete row s1"));
      await plane.deps.hostSync.syncVm(vm.hostId, vm.uuid, { signal: AbortSignal.timeout(30_000) });
      return undo;
    },
  },
  {
    check: "snapshot",
    severity: "info",
    what: "backup checkpoints",
    words: /1 backup checkpoint stay/,
    live: true,
    devices: (scene) => disk(shared(scene)),
    before: async (scene) => onHost(scene.h1, makeImage(shared(scene)), `rm -f ${shared(scene)}`),
    after: ({ h1 }) => onHost(h1, virsh("checkpoint-create-as row c1"), virsh("checkpoint-delete row c1")),
  },
  {
    check: "secret",
    severity: "error",
    what: "a secret that only the source has",
    words: new RegExp(`secret ${secretUuid}, which vda needs`),
    devices: encryptedDisk,
    before: ({ h1 }) => onHost(h1, defineSecret, undefineSecret),
  },
  {
    check: "secret",
    severity: "error",
    what: "a secret that has no value on the target",
    words: new RegExp(`h2 has the secret ${secretUuid}, .* without its value`),
    remedy: /secret-set-value/,
    devices: encryptedDisk,
    before: async ({ h1, h2 }) => {
      const undo = [await onHost(h1, defineSecret, undefineSecret), await onHost(h2, defineSecret, undefineSecret)];
      return async () => {
        for (const each of undo) await each();
      };
    },
  },
  {
    check: "network",
    severity: "error",
    what: "a network that the target does not have",
    words: /h2 has no network dmz/,
    devices: () => nic("network", "network='dmz'"),
  },
  {
    check: "network",
    severity: "error",
    what: "a network that the target has not started",
    words: /h2 has not started its network dmz/,
    devices: () => nic("network", "network='dmz'"),
    before: ({ h2 }) =>
      onHost(h2, define("net-define", "<network><name>dmz</name></network>"), virsh("net-undefine dmz")),
  },
  {
    check: "network",
    severity: "error",
    what: "a network whose bridge the target does not have",
    words: /dmz of host h2 is on bridge br7/,
    devices: () => nic("network", "network='dmz'"),
    before: ({ h2 }) => {
      const xml = "<network><name>dmz</name><forward mode='bridge'/><bridge name='br7'/></network>";
      const down = `${virsh("net-destroy dmz")}; ${virsh("net-undefine dmz")}`;
      return onHost(h2, `${define("net-define", xml)}; ${virsh("net-start dmz")}`, down);
    },
  },
  {
    check: "network",
    severity: "error",
    what: "a bridge that the target does not have",
    words: /h2 has no bridge br9/,
    live: true,
    devices: () => nic("bridge", "bridge='br9'"),
    before: ({ h1 }) => onHost(h1, "ip link add br9 type bridge; ip link set br9 up", "ip link delete br9"),
  },
  {
    check: "network",
    severity: "warning",
    what: "a device that the target does not tell of",
    words: /is on eth7; host h2 does not tell/,
    devices: () => nic("direct", "dev='eth7' mode='bridge'"),
  },
  {
    check: "memory",
    severity: "error",
    what: "more memory than the target has free",
    words: /h2 has \d+ MiB of memory free; the VM needs \d+ MiB/,
    live: true,
    memoryMiB: (scene) => totalMiB(scene) - 64,
  },
  {
    check: "memory",
    severity: "error",
    what: "more memory than the target has in all",
    words: /of memory in all/,
    memoryMiB: 1 << 20,
  },
  {
    check: "memory",
    severity: "warning",
    what: "memory that is promised to more than can have it",
    words: /has promised \d+ MiB to running VMs/,
    live: true,
    before: async (scene) => {
      const { h2, plane } = scene;
      const xml = domainXml(otherUuid, { memoryMiB: totalMiB(scene) }, "").replace("<name>row<", "<name>big<");
      const undo = await onHost(h2, define("create", xml), virsh("destroy big"));
      const sync = () =>
        plane.deps.hostSync.syncVm(plane.host("h2").id, otherUuid, { signal: AbortSignal.timeout(30_000) });
      await sync();
      return async () => {
        await undo();
        await sync();
      };
    },
  },
  {
    check: "memory",
    severity: "warning",
    what: "huge pages that the target has not reserved",
    words: /0 free pages of 1048576 KiB; the VM needs 1/,
    memoryMiB: 1024,
    parts: "<memoryBacking><hugepages><page size='1' unit='G'/></hugepages></memoryBacking>",
  },
  {
    check: "numa",
    severity: "error",
    what: "CPUs that the target does not have",
    words: /pinned to CPU 63/,
    vcpus: "<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='63'/></cputune>",
  },
  {
    check: "numa",
    severity: "error",
    what: "a NUMA node that the target does not have",
    words: /NUMA node 7, which/,
    parts: "<numatune><memory mode='strict' nodeset='7'/></numatune>",
  },
  {
    check: "version",
    severity: "warning",
    what: "an older libvirt (pretended: one is installed)",
    words: /libvirt 8.0.0, older than/,
    live: true,
    before: (scene) => pretendHardware(scene, { libvirtVersion: "8.0.0" }),
  },
  {
    check: "definition",
    severity: "error",
    what: "an emulator that only the source has",
    words: /refuses the VM's definition: .*\/run\/qemu-row/,
    live: true,
    emulator: "/run/qemu-row",
    before: ({ h1 }) => onHost(h1, "ln -s $(command -v qemu-system-x86_64) /run/qemu-row", "rm /run/qemu-row"),
  },
];

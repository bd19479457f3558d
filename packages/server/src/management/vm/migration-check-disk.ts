/** Checks of a migration: whether the VM finds its disks, its snapshots and its networks again. */
import type { MigrationFinding } from "@innkeeper/contract/resource/migration.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { type DiskFact, isHostsAlone, type MigrationFacts } from "./migration-fact.ts";
import { noted, refused, warned } from "./migration-finding.ts";

export function checkDisk(facts: MigrationFacts): MigrationFinding[] {
  const alone = facts.disks.flatMap((fact) => {
    if (isDevice(facts, fact)) return [];
    if (isHostsAlone(fact.disk)) return checkHostsAlone(fact);
    return fact.shared ? checkShared(facts, fact) : checkUnshared(facts, fact);
  });
  return [...alone, ...checkRoom(facts)];
}

/** The check of devices tells of it, and knows more: it has asked the host. */
function isDevice({ traits }: MigrationFacts, { disk }: DiskFact): boolean {
  const own = traits?.devices.filter(({ kind }) => kind === "nvme-disk" || kind === "host-disk") ?? [];
  return own.some(({ device }) => device === disk.target);
}

/** Disks that the migration copies. */
export function isCopied({ disk, shared }: DiskFact): boolean {
  return disk.device === "disk" && !shared;
}

function checkHostsAlone({ disk }: DiskFact): MigrationFinding[] {
  const message = `Disk ${disk.target} (${disk.source ?? disk.sourceType}) is a device or program of its host, which can neither be shared nor copied.`;
  const remedy = "Take the disk away from the VM, move it, and give it a disk of the target.";
  return [refused("disk", "unsupported", message, remedy, { device: disk.target })];
}

/** With cache mode unsafe QEMU tells the host never to write its caches out: the target would read what is stale. */
function checkShared({ live }: MigrationFacts, { disk }: DiskFact): MigrationFinding[] {
  if (!live || disk.cache !== "unsafe" || disk.readOnly === true || disk.source === undefined) return [];
  const message = `Disk ${disk.target} (${disk.source}) has cache mode unsafe: what the guest wrote may still be in its host's memory when the target reads it.`;
  const remedy = "Give it another cache mode (none, writeback), or power the VM off and move it then.";
  return [refused("disk", "unsupported", message, remedy, { device: disk.target })];
}

function checkUnshared(facts: MigrationFacts, fact: DiskFact): MigrationFinding[] {
  const { target, request, live } = facts;
  const { disk, elsewhere, copyBytes } = fact;
  const { source = "" } = disk;
  const what = `Disk ${disk.target} (${source})`;
  const why =
    elsewhere !== undefined && elsewhere !== source
      ? `host ${target.name} reaches it as ${elsewhere}`
      : `host ${target.name} does not reach it, or a layer below it`;
  const about = { device: disk.target };
  if (disk.device !== "disk") {
    const remedy = "Eject the medium first, or put it into a shared pool.";
    return [refused("disk", "unsupported", `${what}: ${why}.`, remedy, about)];
  }
  if (request.copyDisks !== true) {
    const remedy = `Put it on a shared pool, or let it be copied (copyDisks; up to ${formatBytes(copyBytes)}).`;
    return [refused("disk", "unsupported", `${what}: ${why}.`, remedy, { ...about, field: "copyDisks" })];
  }
  const findings = checkCopy(facts, fact, what);
  if (findings.length > 0) return findings;
  const way = live ? "" : ", through Innkeeper";
  return [noted("disk", `${what} is copied${way}: up to ${formatBytes(copyBytes)}.`, about)];
}

/** Of all copies that go into one pool together. */
function checkRoom({ disks, target, live, request }: MigrationFacts): MigrationFinding[] {
  if (request.copyDisks !== true) return [];
  const byPool = Map.groupBy(disks.filter(isCopied), ({ poolThere }) => poolThere?.id);
  return [...byPool.values()].flatMap((facts) => {
    const [first] = facts;
    const pool = first?.poolThere;
    if (first === undefined || pool === undefined) return [];
    const neededBytes = facts.reduce((sum, fact) => sum + copyNeedBytes(fact, live), 0);
    if (neededBytes <= pool.availableBytes) return [];
    const names = facts.map(({ disk }) => disk.target).join(", ");
    const what = facts.length > 1 ? `Disks ${names} have` : `Disk ${names} (${first.disk.source}) has`;
    const message = `${what} ${formatBytes(neededBytes)}; pool ${pool.name} of host ${target.name} has ${formatBytes(pool.availableBytes)} free.`;
    const about = { field: "copyDisks", device: first.disk.target };
    return [refused("disk", "disk_full", message, "Free space in that pool, or take disks away.", about)];
  });
}

/** libvirt sends a running guest's layers as one; of one that is off there is only one (see checkCopy). */
function copyNeedBytes({ copyBytes, volume }: DiskFact, live: boolean): number {
  return live ? copyBytes : (volume?.allocationBytes ?? 0);
}

function checkCopy({ target, live }: MigrationFacts, fact: DiskFact, what: string): MigrationFinding[] {
  const { disk, poolThere, volume, fileThere } = fact;
  const about = { field: "copyDisks", device: disk.target };
  if (disk.sourceType === "dir") {
    const message = `${what} is a folder that the guest sees as a disk: it can't be copied.`;
    return [refused("disk", "unsupported", message, "Take it away from the VM, or share the folder.", about)];
  }
  if (poolThere === undefined || poolThere.state !== "running") {
    const message = `${what}: host ${target.name} has no running pool at the same path for the copy.`;
    return [refused("disk", "unsupported", message, "Create a pool there at the path of the disk's pool.", about)];
  }
  if (volume === undefined) {
    const message = `${what} is in no storage pool of its host.`;
    return [refused("disk", "unsupported", message, "Create a pool for its folder.", about)];
  }
  if (fileThere) {
    const message = `${what}: host ${target.name} has another file of that name.`;
    return [refused("disk", "conflict", message, "Move it away.", about)];
  }
  if (!live && volume.backingPath !== undefined) {
    const message = `${what} lies on other layers, which only a live migration copies as one.`;
    return [refused("disk", "unsupported", message, "Start the VM first.", about)];
  }
  return [];
}

export function checkSnapshot(facts: MigrationFacts): MigrationFinding[] {
  const { vm, target, snapshots } = facts;
  const about = { field: "vmId" };
  const lost = snapshots.flatMap(({ name, lostFiles }) => {
    if (lostFiles.length === 0) return [];
    const message = `Snapshot ${name} has files that host ${target.name} does not reach: ${lostFiles.join(", ")}.`;
    return [
      refused("snapshot", "unsupported", message, "Delete the snapshot first, or move its files to shared storage."),
    ];
  });
  const findings = [...lost, ...checkCheckpoints(facts)];
  if (vm.foreignSnapshotCount === 0) return findings;
  const message = `VM ${vm.name} has snapshots in libvirt's own keeping, which libvirt does not migrate.`;
  const remedy = "Delete them with the tool that made them (virsh snapshot-list, snapshot-delete).";
  return [...findings, refused("snapshot", "unsupported", message, remedy, about)];
}

function checkCheckpoints({ traits }: MigrationFacts): MigrationFinding[] {
  const count = traits?.checkpointCount ?? 0;
  if (count === 0) return [];
  const about = { field: "vmId" };
  return [
    noted(
      "snapshot",
      `Its ${count} backup checkpoint${count > 1 ? "s" : ""} stay behind: the next backup is a full one.`,
      about,
    ),
  ];
}

export function checkNetwork({ vm, target, networks, traits, reception }: MigrationFacts): MigrationFinding[] {
  const interfaces = reception?.interfaces;
  const onNetwork = vm.spec.nics.flatMap((nic): MigrationFinding[] => {
    const about = { device: nic.mac };
    if (nic.type !== "network" || nic.network === undefined) return [];
    const found = networks.find((network) => network.name === nic.network);
    const card = `which network card ${nic.mac} is on`;
    if (found === undefined) {
      const message = `Host ${target.name} has no network ${nic.network}, ${card}.`;
      const remedy = `Create network ${nic.network} there, or put the card on another network.`;
      return [refused("network", "not_found", message, remedy, about)];
    }
    if (!found.active) {
      const message = `Host ${target.name} has not started its network ${nic.network}, ${card}.`;
      return [refused("network", "invalid_state", message, `Start network ${nic.network} there.`, about)];
    }
    const { bridge } = found;
    if (found.forwardMode !== "bridge" || bridge === undefined || interfaces === undefined) return [];
    if (interfaces.includes(bridge)) return [];
    const message = `Network ${nic.network} of host ${target.name} is on bridge ${bridge}, which the host does not have.`;
    return [refused("network", "not_found", message, `Create bridge ${bridge} there, or mend the network.`, about)];
  });
  const onHost = (traits?.interfaces ?? []).flatMap(({ mac, name, isBridge }): MigrationFinding[] => {
    const about = { device: mac };
    if (reception === undefined || interfaces?.includes(name) === true) return [];
    const remedy = `Create ${name} there, or put the card on a network that both hosts have.`;
    if (interfaces !== undefined && isBridge) {
      const message = `Host ${target.name} has no bridge ${name}, which network card ${mac} is on.`;
      return [refused("network", "not_found", message, remedy, about)];
    }
    const message = `Network card ${mac} is on ${name}; host ${target.name} does not tell that it has it.`;
    return [warned("network", message, remedy, about)];
  });
  return [...onNetwork, ...onHost];
}

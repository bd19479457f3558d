/**
 * Whether a VM can move to a host: everything that would make it fail or hurt, found before anything moves. Each finding
 * says what to do. What only the hypervisors can compare (CPU features under host-model) is checked by libvirt when the
 * migration begins, before the guest is touched.
 */
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Vm, VmMigrate } from "@innkeeper/contract/resource/vm.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { hostUnfit, memoryFreeMiB } from "#management/placement/candidate.ts";
import { snapshotsOf } from "#management/snapshot/snapshot-record.ts";
import { hostProblems } from "./hardware-check.ts";
import { migrationUri } from "./migration-uri.ts";
import { poolOfPath, pathOn } from "./storage-reach.ts";

export interface Finding {
  readonly code: ErrorCode;
  readonly field: string;
  readonly message: string;
  readonly remedy: string;
}

/** Empty: it can move. */
export function migrationFindings(inventory: Inventory, vm: Vm, target: Host, request: VmMigrate): Finding[] {
  if (target.id === vm.hostId) {
    const message = `VM ${vm.name} is on host ${target.name} already.`;
    return [{ code: "conflict", field: "host", message, remedy: "Name another host." }];
  }
  const unfit = hostUnfit(target);
  if (unfit !== undefined) return [{ ...unfit, remedy: "Name another host, or bring this one back." }];
  return [
    ...identityFindings(inventory, vm, target),
    ...machineFindings(inventory, vm, target),
    ...networkFindings(inventory, vm, target),
    ...vm.spec.disks.flatMap((disk) => diskFindings(inventory, vm, target, disk, request)),
    ...snapshotFindings(inventory, vm, target),
  ];
}

export function requireMovable(inventory: Inventory, vm: Vm, target: Host, request: VmMigrate): void {
  const findings = migrationFindings(inventory, vm, target, request);
  const [first] = findings;
  if (first === undefined) return;
  const all = findings.map((finding) => finding.message).join(" ");
  const { code, field, remedy } = first;
  throw new AppError(code, `VM ${vm.name} can't move to host ${target.name}. ${all} Nothing was moved.`, {
    field,
    remedy,
    fault: { findings },
  });
}

function identityFindings(inventory: Inventory, vm: Vm, target: Host): Finding[] {
  const findings: Finding[] = [];
  const there = inventory.byHost("vm", target.id);
  const remedy = "Rename or delete the other VM.";
  if (there.some((other) => other.name === vm.name)) {
    const message = `Host ${target.name} has another VM named ${vm.name}.`;
    findings.push({ code: "name_taken", field: "host", message, remedy });
  }
  if (there.some((other) => other.uuid === vm.uuid)) {
    const message = `Host ${target.name} has another VM with the UUID ${vm.uuid}.`;
    findings.push({ code: "conflict", field: "host", message, remedy });
  }
  if (vm.foreignSnapshotCount > 0) {
    findings.push({
      code: "unsupported",
      field: "vmId",
      message: `VM ${vm.name} has snapshots in libvirt's own keeping, which libvirt does not migrate.`,
      remedy: "Delete them with the tool that made them (virsh).",
    });
  }
  if (migrationUri(target) === undefined) {
    findings.push({
      code: "unsupported",
      field: "host",
      message: `Host ${target.name} is managed through a local socket (${target.uri}): other hosts have no address for it.`,
      remedy: "Add it by qemu+tls:// or qemu+ssh://.",
    });
  }
  return findings;
}

function machineFindings(inventory: Inventory, vm: Vm, target: Host): Finding[] {
  const { spec } = vm;
  const remedy = "Choose a host that has it, or change the VM.";
  const { machine, firmware, tpm } = spec;
  const wanted = { ...(machine && { machine }), ...(firmware && { firmware }), ...(tpm && { tpm }) };
  const memory = { sizeMiB: spec.memory.sizeMiB };
  const findings: Finding[] = hostProblems(target, { cpu: spec.cpu, memory, ...wanted }, spec.domainType).map(
    (problem) => ({ ...problem, field: "host", remedy }),
  );
  const { hardware } = target;
  const kvm = spec.domainType === "kvm" && hardware?.kvm.usable === false;
  if (hardware?.domainTypes.includes(spec.domainType) === false || kvm) {
    const message = `Host ${target.name} can't run guests of type ${spec.domainType}.`;
    findings.push({ code: "unsupported", field: "host", message, remedy });
  }
  if (hardware !== undefined && hardware.architecture !== spec.architecture && spec.domainType === "kvm") {
    const message = `Host ${target.name} is ${hardware.architecture}, the VM is ${spec.architecture}.`;
    findings.push({ code: "unsupported", field: "host", message, remedy });
  }
  const free = memoryFreeMiB(inventory, target);
  if (isActive(vm) && free < spec.memory.sizeMiB) {
    findings.push({
      code: "insufficient_resources",
      field: "host",
      message: `Host ${target.name} has ${free} MiB of memory free; the VM needs ${spec.memory.sizeMiB} MiB.`,
      remedy: "Free memory there, or choose another host.",
    });
  }
  if (!isActive(vm) && (tpm === true || (firmware !== undefined && firmware !== "bios"))) {
    findings.push({
      code: "unsupported",
      field: "vmId",
      message: `The host keeps the ${tpm === true ? "TPM's state" : "firmware's variables"} of VM ${vm.name}, which only a live migration takes along.`,
      remedy: "Start the VM, migrate it live, and power it off on the target.",
    });
  }
  return findings;
}

function networkFindings(inventory: Inventory, vm: Vm, target: Host): Finding[] {
  const networks = inventory.byHost("network", target.id);
  return vm.spec.nics.flatMap((nic): Finding[] => {
    if (nic.type !== "network" || nic.network === undefined) return [];
    const found = networks.find((network) => network.name === nic.network);
    if (found?.active === true) return [];
    const what = found === undefined ? "has no network" : "has not started its network";
    return [
      {
        code: found === undefined ? "not_found" : "invalid_state",
        field: "host",
        message: `Host ${target.name} ${what} ${nic.network}, which network card ${nic.mac} is on.`,
        remedy: `Create or start network ${nic.network} there, or put the card on another network.`,
      },
    ];
  });
}

/** Whether the target reaches the disk and all its layers under the same paths. */
export function isShared(inventory: Inventory, vm: Pick<Vm, "hostId">, targetId: string, disk: VmDisk): boolean {
  if (disk.source === undefined || disk.sourceType === "network") return true;
  return [disk.source, ...(disk.backingChain ?? [])].every(
    (path) => pathOn(inventory, vm.hostId, targetId, path) === path,
  );
}

function diskFindings(inventory: Inventory, vm: Vm, target: Host, disk: VmDisk, request: VmMigrate): Finding[] {
  if (isShared(inventory, vm, target.id, disk)) return [];
  const source = disk.source ?? "";
  const what = `Disk ${disk.target} (${source})`;
  const elsewhere = pathOn(inventory, vm.hostId, target.id, source);
  const why =
    elsewhere !== undefined && elsewhere !== source
      ? `host ${target.name} reaches it as ${elsewhere}`
      : `host ${target.name} does not reach it, or a layer below it`;
  if (disk.device !== "disk") {
    const remedy = "Eject the medium first, or put it into a shared pool.";
    return [{ code: "unsupported", field: "host", message: `${what}: ${why}.`, remedy }];
  }
  if (request.copyDisks !== true) {
    const remedy = "Put it on a shared pool, or let it be copied (copyDisks).";
    return [{ code: "unsupported", field: "copyDisks", message: `${what}: ${why}.`, remedy }];
  }
  return copyFindings(inventory, vm, target, disk, what);
}

function copyFindings(inventory: Inventory, vm: Vm, target: Host, disk: VmDisk, what: string): Finding[] {
  const source = disk.source ?? "";
  const pool = poolOfPath(inventory, target.id, source);
  if (pool === undefined || pool.state !== "running") {
    const message = `${what}: host ${target.name} has no running pool at the same path for the copy.`;
    return uncopyable("unsupported", message, "Create a pool there at the path of the disk's pool.");
  }
  const volume = inventory.byHost("volume", vm.hostId).find((each) => each.path === source);
  if (volume === undefined) {
    return uncopyable("unsupported", `${what} is in no storage pool of its host.`, "Create a pool for its folder.");
  }
  if (inventory.byHost("volume", target.id).some((each) => each.path === source)) {
    return uncopyable("conflict", `${what}: host ${target.name} has another file of that name.`, "Move it away.");
  }
  if (volume.allocationBytes > pool.availableBytes) {
    return uncopyable(
      "disk_full",
      `${what}: pool ${pool.name} of host ${target.name} has no room for it.`,
      "Free space.",
    );
  }
  if (!isActive(vm) && volume.backingPath !== undefined) {
    const message = `${what} lies on other layers, which only a live migration copies as one.`;
    return uncopyable("unsupported", message, "Start the VM first.");
  }
  return [];
}

function snapshotFindings(inventory: Inventory, vm: Vm, target: Host): Finding[] {
  return snapshotsOf(inventory, vm.id).flatMap((snapshot): Finding[] => {
    const files = [...snapshot.disks.map((disk) => disk.path), ...(snapshot.memoryPath ? [snapshot.memoryPath] : [])];
    const lost = files.filter((path) => pathOn(inventory, vm.hostId, target.id, path) !== path);
    if (lost.length === 0) return [];
    return [
      {
        code: "unsupported",
        field: "host",
        message: `Snapshot ${snapshot.name} has files that host ${target.name} does not reach: ${lost.join(", ")}.`,
        remedy: "Delete the snapshot first, or move its files to shared storage.",
      },
    ];
  });
}

function uncopyable(code: ErrorCode, message: string, remedy: string): Finding[] {
  return [{ code, field: "copyDisks", message, remedy }];
}

/** Refusing changes of a VM that can't work, naming the field; reads the inventory only. */
import type { Vm, VmChange } from "@innkeeper/contract/resource/vm.ts";
import type { VmDisk, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { refuseDisks } from "./device-rule.ts";
import { checkBootOrders, checkDisks } from "./disk-target.ts";
import { refuse, refuseDuplicates } from "./field-check.ts";
import { afterChange, withoutNull } from "./guest-change.ts";
import { checkHardware, hostProblems, type Problem } from "./hardware-check.ts";
import { requirePersistent, requireState } from "./lookup.ts";
import { checkMacs, checkNics, nicProblems } from "./nic-plan.ts";
import { poolOfPath, requirePoolOfPath } from "./storage-reach.ts";

export function checkChange(inventory: Inventory, vm: Vm, request: VmChange): void {
  requireState(vm, "change", "changed");
  requirePersistent(vm, "changed");
  const devices = [request.disksAdd, request.disksRemove, request.nicsAdd, request.nicsRemove];
  if (isActive(vm) && devices.some((list) => (list?.length ?? 0) > 0)) {
    requireState(vm, "hotplug", "given or deprived of devices");
  }
  if (request.template === true && isActive(vm)) {
    refuse("template", `VM ${vm.name} is ${vm.state}; only a stopped VM can become a template.`, "invalid_state");
  }
  const host = inventory.require("host", vm.hostId);
  const { spec } = vm;
  const cpu = request.cpu === undefined ? {} : { cpu: afterChange(spec.cpu, request.cpu) };
  const memory = request.memory === undefined ? {} : { memory: { ...spec.memory, ...request.memory } };
  checkHardware({ ...cpu, ...memory });
  const { machine, firmware, tpm } = request;
  const asked = { ...(machine && { machine }), ...(firmware && { firmware }), ...(tpm && { tpm }) };
  const parts = {
    ...(request.cpu && { cpu: withoutNull(request.cpu) }),
    ...(request.memory && { memory: request.memory }),
  };
  throwFirst(hostProblems(host, { ...asked, ...parts }, spec.domainType));
  checkDiskChanges(inventory, vm, request);
  checkNicChanges(inventory, vm, request);
}

function throwFirst(problems: readonly Problem[]): void {
  const [problem] = problems;
  if (problem !== undefined) refuse(problem.field, problem.message, problem.code);
}

function checkDiskChanges(inventory: Inventory, vm: Vm, request: VmChange): void {
  const { disksAdd = [], disksRemove = [], disksChange = [] } = request;
  const removed = disksRemove.map((each) => each.target);
  const staying = vm.spec.disks.filter((disk) => !removed.includes(disk.target));
  const machine = request.machine ?? vm.spec.machine;
  const ioThreads = request.ioThreads ?? vm.spec.ioThreads;
  checkDisks(disksAdd, { field: "disksAdd", machine, ioThreads, taken: vm.spec.disks.map((disk) => disk.target) });
  refuseDuplicates(
    removed,
    (index) => `disksRemove[${index}].target`,
    (target) => `Disk ${target}`,
  );
  for (const [index, { target }] of disksRemove.entries()) diskOf(vm, target, `disksRemove[${index}].target`);
  for (const [index, change] of disksChange.entries()) {
    const field = `disksChange[${index}]`;
    const disk = diskOf(vm, change.target, `${field}.target`);
    if (removed.includes(change.target)) refuse(`${field}.target`, `Disk ${change.target} is removed as well.`);
    if (change.capacityBytes !== undefined) checkGrow(inventory, vm, disk, change.capacityBytes, field);
    if (change.source !== undefined) checkMedium(inventory, vm, disk, change.source, field);
  }
  const changed = new Set(disksChange.filter((each) => each.bootOrder !== undefined).map((each) => each.target));
  const nics = vm.spec.nics.filter(
    (nic) => !(request.nicsRemove ?? []).some((each) => each.mac.toLowerCase() === nic.mac.toLowerCase()),
  );
  const taken = [...staying.filter((disk) => !changed.has(disk.target)), ...nics].flatMap(
    (each) => each.bootOrder ?? [],
  );
  checkBootOrders(
    [
      ...disksAdd.map((disk, index) => ({ field: `disksAdd[${index}]`, bootOrder: disk.bootOrder })),
      ...disksChange.map((disk, index) => ({ field: `disksChange[${index}]`, bootOrder: disk.bootOrder })),
      ...(request.nicsAdd ?? []).map((nic, index) => ({ field: `nicsAdd[${index}]`, bootOrder: nic.bootOrder })),
    ],
    taken,
  );
}

export function diskOf(vm: Pick<Vm, "name" | "spec">, target: string, field: string): VmDisk {
  const disk = vm.spec.disks.find((each) => each.target === target);
  return disk ?? refuse(field, `VM ${vm.name} has no disk ${target}.`, "not_found");
}

/** As in vSphere, a disk under snapshots keeps its size: the frozen layers would have another one than the present. */
function checkGrow(inventory: Inventory, vm: Vm, disk: VmDisk, capacityBytes: number, field: string): void {
  const at = `${field}.capacityBytes`;
  refuseDisks(vm, [disk], "grow", `have disk ${disk.target} grown`);
  if (disk.device !== "disk" || disk.source === undefined) refuse(at, `${disk.target} is no disk that could grow.`);
  const frozen = inventory
    .by("snapshot", "vmId", vm.id)
    .filter((each) => each.disks.some((d) => d.target === disk.target));
  if (frozen.length > 0) {
    const names = frozen.map((each) => each.name).join(", ");
    const message = `Disk ${disk.target} is frozen in snapshots (${names}) and can't grow while they exist.`;
    refuse(at, message, "invalid_state", "Delete the snapshots first.");
  }
  if (disk.sourceType === "block" && poolOfPath(inventory, vm.hostId, disk.source) === undefined) {
    const message = `Disk ${disk.target} is ${disk.source}, a device of its host that is in no storage pool: it has the device's size.`;
    refuse(at, message, "unsupported", "Grow the device on its host.");
  }
  // One that is off grows as a volume.
  if (!isActive(vm)) requirePoolOfPath(inventory, vm.hostId, disk.source, `Disk ${disk.target} of VM ${vm.name}`);
  const volume = inventory.byHost("volume", vm.hostId).find((each) => each.path === disk.source);
  if (volume !== undefined && capacityBytes < volume.capacityBytes) {
    refuse(at, `Disk ${disk.target} has ${volume.capacityBytes} bytes: disks only grow.`);
  }
}

/** A medium is a volume of the host's pools: no path from a request reaches a host unchecked. */
function checkMedium(inventory: Inventory, vm: Vm, disk: VmDisk, source: string | null, field: string): void {
  const at = `${field}.source`;
  if (disk.device === "disk") refuse(at, `${disk.target} is a disk; only drives (CD-ROM, floppy) change their medium.`);
  if (source === null) return;
  if (!inventory.byHost("volume", vm.hostId).some((volume) => volume.path === source)) {
    refuse(at, `The host of VM ${vm.name} has no volume ${source} in its storage pools.`, "not_found");
  }
}

function checkNicChanges(inventory: Inventory, vm: Vm, request: VmChange): void {
  const host = inventory.require("host", vm.hostId);
  const { nicsAdd = [], nicsRemove = [], nicsChange = [] } = request;
  checkNics(inventory, nicsAdd, "nicsAdd");
  throwFirst(nicProblems(inventory, host, nicsAdd, "nicsAdd"));
  throwFirst(nicProblems(inventory, host, nicsChange, "nicsChange"));
  const macs = new Set(vm.spec.nics.map((nic) => nic.mac.toLowerCase()));
  for (const [list, field] of [
    [nicsRemove, "nicsRemove"],
    [nicsChange, "nicsChange"],
  ] as const) {
    for (const [index, { mac }] of list.entries()) {
      if (!macs.has(mac.toLowerCase())) {
        refuse(`${field}[${index}].mac`, `VM ${vm.name} has no network card ${mac}.`, "not_found");
      }
    }
  }
}

/** An edited definition: what of it differs from the VM is checked as a change would be; the field is the document. */
export function checkEditedSpec(inventory: Inventory, vm: Vm, spec: VmSpec, changed: readonly string[]): void {
  const differs = (part: string): boolean => changed.some((path) => path === part || path.startsWith(`${part}.`));
  const { machine } = spec;
  const asked = {
    ...(differs("cpu") && { cpu: spec.cpu }),
    ...(differs("memory") && { memory: spec.memory }),
    ...(differs("machine") && machine !== undefined && { machine }),
  };
  const present = new Set(vm.spec.nics.map((nic) => nic.mac.toLowerCase()));
  const added = spec.nics.filter(({ mac }) => mac !== "" && !present.has(mac.toLowerCase()));
  try {
    checkHardware(asked);
    throwFirst(hostProblems(inventory.require("host", vm.hostId), asked, spec.domainType));
    checkMacs(
      inventory,
      added.map(({ mac }) => ({ mac, field: documentField })),
    );
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    refuse(documentField, error.message, error.code);
  }
}

const documentField = "domainXml";

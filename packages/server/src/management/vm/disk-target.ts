/**
 * Devices, buses and device names of disks. The name's prefix follows the bus, as libvirt derives one from the other
 * (libvirt 9.0 formatdomain, "target"): vd virtio; sd scsi, sata, usb; hd ide; fd fdc.
 */
import type { VmDiskCreate } from "@innkeeper/contract/resource/vm-spec.ts";
import { refuse, refuseDuplicates } from "./field-check.ts";

type Bus = NonNullable<VmDiskCreate["bus"]>;

const prefixOf: Readonly<Record<Bus, string>> = {
  virtio: "vd",
  scsi: "sd",
  sata: "sd",
  usb: "sd",
  ide: "hd",
  fdc: "fd",
};

export function deviceOf(request: VmDiskCreate): "disk" | "cdrom" | "floppy" {
  return request.device ?? "disk";
}

/** q35 and virt have SATA or SCSI but no IDE; the older pc machines have IDE. */
export function busOf(request: VmDiskCreate, machine: string | undefined): Bus {
  if (request.bus !== undefined) return request.bus;
  if (deviceOf(request) === "floppy") return "fdc";
  const byTarget: Readonly<Record<string, Bus>> = { vd: "virtio", hd: "ide", fd: "fdc" };
  const implied = request.target === undefined ? undefined : byTarget[request.target.slice(0, 2)];
  if (implied !== undefined) return implied;
  if (deviceOf(request) === "disk" && request.target === undefined) return "virtio";
  if (machine?.startsWith("virt") === true) return "scsi";
  return machine?.startsWith("pc") === true && !machine.startsWith("pc-q35") && request.target === undefined
    ? "ide"
    : "sata";
}

/** The first free name: vda … vdz, vdaa … */
export function nextTarget(bus: Bus, used: ReadonlySet<string>): string {
  const letters = "abcdefghijklmnopqrstuvwxyz";
  for (const first of ["", ...letters]) {
    for (const second of letters) {
      const name = `${prefixOf[bus]}${first}${second}`;
      if (!used.has(name)) return name;
    }
  }
  return refuse("disks", `There is no free device name on the ${bus} bus.`);
}

/** Throws for what is wrong with the requests whatever the host. `taken`: devices that the VM has already. */
export function checkDisks(
  requests: readonly VmDiskCreate[],
  options: {
    readonly field: string;
    readonly machine: string | undefined;
    readonly ioThreads: number | undefined;
    readonly taken: readonly string[];
  },
): void {
  for (const [index, request] of requests.entries()) checkDisk(request, `${options.field}[${index}]`, options);
  const targets = requests.flatMap((request, index) => (request.target === undefined ? [] : [{ request, index }]));
  refuseDuplicates(
    targets.map(({ request }) => request.target),
    (nth) => `${options.field}[${targets[nth]?.index ?? nth}].target`,
    (target) => `Device name ${target}`,
  );
}

function checkDisk(
  request: VmDiskCreate,
  field: string,
  options: { machine: string | undefined; ioThreads: number | undefined; taken: readonly string[] },
): void {
  const device = deviceOf(request);
  const bus = busOf(request, options.machine);
  const sources = (["image", "volumeId", "path"] as const).filter((key) => request[key] !== undefined);
  const [source, second] = sources;
  if (second !== undefined) refuse(`${field}.${second}`, `Give only one of ${sources.join(", ")}.`);
  if (source === undefined && request.capacityBytes === undefined && device === "disk") {
    refuse(field, "A disk needs one of capacityBytes, image, volumeId, path.");
  }
  if (request.capacityBytes !== undefined && (device !== "disk" || source === "volumeId" || source === "path")) {
    refuse(`${field}.capacityBytes`, "capacityBytes is for new disks only.");
  }
  if (request.linked === true && source !== "image") refuse(`${field}.linked`, "linked needs an image.");
  if (request.volumeName !== undefined && (source !== undefined || request.capacityBytes === undefined)) {
    refuse(`${field}.volumeName`, "volumeName is for new disks of capacityBytes only.");
  }
  if (request.ejectAfterInstall === true && device === "disk") {
    refuse(`${field}.ejectAfterInstall`, "Only drives with media can be ejected.");
  }
  if ((device === "floppy") !== (bus === "fdc")) refuse(`${field}.bus`, `A ${device} can't be on the ${bus} bus.`);
  if (device === "cdrom" && bus === "virtio") refuse(`${field}.bus`, "A CD-ROM drive can't be on the virtio bus.");
  if (bus === "ide" && /^(q35|pc-q35|virt)/.test(options.machine ?? "q35")) {
    refuse(`${field}.bus`, `Machine type ${options.machine ?? "q35"} has no IDE bus; use sata.`);
  }
  const { target, ioThread } = request;
  if (target !== undefined && !target.startsWith(prefixOf[bus])) {
    refuse(
      `${field}.target`,
      `A disk on the ${bus} bus is named ${prefixOf[bus]}a, ${prefixOf[bus]}b …, not ${target}.`,
    );
  }
  if (target !== undefined && options.taken.includes(target)) {
    refuse(`${field}.target`, `The VM has a disk ${target} already.`, "conflict");
  }
  if (ioThread !== undefined && ioThread > (options.ioThreads ?? 0)) {
    refuse(`${field}.ioThread`, `There is no I/O thread ${ioThread}: ioThreads is ${options.ioThreads ?? 0}.`);
  }
}

/** Boot orders are unique over all devices. `taken`: what the VM's present devices have. */
export function checkBootOrders(
  devices: readonly { readonly field: string; readonly bootOrder: number | undefined }[],
  taken: readonly number[] = [],
): void {
  const given = devices.filter((device) => device.bootOrder !== undefined);
  refuseDuplicates(
    given.map((device) => device.bootOrder),
    (index) => `${given[index]?.field ?? ""}.bootOrder`,
    (order) => `Boot order ${order}`,
  );
  for (const device of given) {
    if (device.bootOrder !== undefined && taken.includes(device.bootOrder)) {
      refuse(`${device.field}.bootOrder`, `Boot order ${device.bootOrder} is another device's already.`, "conflict");
    }
  }
}

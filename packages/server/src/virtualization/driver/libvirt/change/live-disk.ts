/** Disks of a running guest: added, removed, grown, limited, media changed. */
import { VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_BLOCK_RESIZE_BYTES } from "@innkeeper/libvirt";
import type { IoLimit } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import type { GuestChange } from "#virtualization/port.ts";
import { addedDisk } from "../domain-xml/added-device.ts";
import { changeMedium, hasScsiController } from "../domain-xml/apply-change.ts";
import { diskByTarget, ioTuneName } from "../domain-xml/disk.ts";
import { child, create, remove } from "../domain-xml/element.ts";
import { attachStep, detachStep, updateStep } from "./live-device.ts";
import type { LiveGuest, LiveStep } from "./live-step.ts";

type DiskChange = NonNullable<GuestChange["disksChange"]>[number];

/** `final`: growth, which can't be taken back. */
export async function diskSteps(
  guest: LiveGuest,
  clock: Clock,
  change: GuestChange,
): Promise<{ readonly revocable: readonly LiveStep[]; readonly final: readonly LiveStep[] }> {
  const revocable = (change.disksRemove ?? []).flatMap((target) =>
    detachStep(guest, clock, `disk ${target}`, (root) => diskByTarget(root, target)),
  );
  revocable.push(...addSteps(guest, change));
  for (const disk of change.disksChange ?? []) revocable.push(...changeSteps(guest, disk));
  const final: LiveStep[] = [];
  for (const disk of change.disksChange ?? []) final.push(...(await growSteps(guest, disk)));
  return { revocable, final };
}

function addSteps(guest: LiveGuest, change: GuestChange): LiveStep[] {
  const disks = change.disksAdd ?? [];
  const steps: LiveStep[] = [];
  if (disks.some((disk) => disk.bus === "scsi") && !hasScsiController(guest.root)) {
    const controller = create(guest.root, "controller", { type: "scsi", model: "virtio-scsi", index: 0 });
    steps.push(attachStep(guest, "a SCSI controller", controller));
  }
  for (const disk of disks) {
    const element = addedDisk(guest.root, disk, change);
    // The order of booting means nothing to a guest that has booted, and would collide with the present one.
    remove(child(element, "boot"));
    steps.push(attachStep(guest, `disk ${disk.target}`, element));
  }
  return steps;
}

function changeSteps(guest: LiveGuest, change: DiskChange): LiveStep[] {
  const disk = diskByTarget(guest.root, change.target);
  if (disk === undefined) return [];
  const steps: LiveStep[] = [];
  const { source, ioLimit } = change;
  if (source !== undefined) {
    steps.push(updateStep(guest, `the medium of ${change.target}`, disk, (copy) => changeMedium(copy, source)));
  }
  if (ioLimit !== undefined) {
    const before = guest.spec.disks.find((each) => each.target === change.target)?.ioLimit ?? {};
    const set = (limit: IoLimit) => setIoLimit(guest, change.target, limit);
    steps.push({ what: `I/O limits of ${change.target}`, run: () => set(ioLimit), undo: () => set(before) });
  }
  return steps;
}

/** LIVE alone: libvirt 9.0 refuses LIVE and CONFIG in one call, and the definition is edited anyway. 0 is no limit. */
async function setIoLimit({ remote, dom, options }: LiveGuest, disk: string, limit: IoLimit): Promise<void> {
  const params = Object.fromEntries(
    Object.entries(ioTuneName).map(([field, name]) => [name, BigInt(limit[field as keyof IoLimit] ?? 0)]),
  );
  await remote.domainSetBlockIoTune({ dom, disk, params, flags: VIR_DOMAIN_AFFECT_LIVE }, options);
}

async function growSteps({ remote, dom, options }: LiveGuest, change: DiskChange): Promise<LiveStep[]> {
  const { target, capacityBytes } = change;
  if (capacityBytes === undefined) return [];
  const { capacity } = await remote.domainGetBlockInfo({ dom, path: target }, options);
  if (BigInt(capacityBytes) === capacity) return [];
  if (BigInt(capacityBytes) < capacity) {
    const message = `Disk ${target} has ${capacity} bytes; a disk can only grow.`;
    throw new AppError("invalid_field", message, { field: "disksChange.capacityBytes" });
  }
  const size = BigInt(capacityBytes);
  const flags = VIR_DOMAIN_BLOCK_RESIZE_BYTES;
  return [
    {
      what: `growth of ${target}`,
      run: () => remote.domainBlockResize({ dom, disk: target, size, flags }, options),
    },
  ];
}

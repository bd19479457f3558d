/**
 * From a request to what a guest is changed by, and back again. Both directions skip what is so already, so that a
 * change that a crash interrupted can be done again, or undone, without knowing how far it got.
 */
import type { VmChange } from "@innkeeper/contract/resource/vm.ts";
import type { VmCpuChange, VmDisk, VmNic, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import type { GuestChange, GuestMetadata } from "#virtualization/port.ts";

const hardwareKeys = [
  "machine",
  "firmware",
  "tpm",
  "graphics",
  "video",
  "serial",
  "guestAgent",
  "balloon",
  "ioThreads",
  "autostart",
] as const;

export interface ResolvedChange {
  readonly request: VmChange;
  /** disksAdd, made. */
  readonly disks: readonly VmDisk[];
  /** nicsAdd, with their MACs. */
  readonly nics: readonly VmNic[];
  readonly metadata: GuestMetadata;
}

type DiskChange = NonNullable<GuestChange["disksChange"]>[number];

/** vCPUs above the present maximum raise it; it takes effect at the next start. */
export function withRoom(now: VmSpec["cpu"], asked: VmCpuChange): VmCpuChange {
  const { count, maxCount } = asked;
  if (count === undefined || maxCount !== undefined || count <= (now.maxCount ?? now.count)) return asked;
  return { ...asked, maxCount: count };
}

/** The settings as they are after the change: what is null is no longer there. */
export function afterChange(now: VmSpec["cpu"], asked: VmCpuChange): VmSpec["cpu"] {
  return withoutNull({ ...now, ...withRoom(now, asked) }) as VmSpec["cpu"];
}

/** What a change sets, without what it takes away. */
export function withoutNull(asked: VmCpuChange): Partial<VmSpec["cpu"]> {
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== null));
}

/** `now`: the guest's present configuration; `running`: a stopped guest's disks grow through their storage instead. */
export function toGuestChange(change: ResolvedChange, now: VmSpec, running: boolean): GuestChange {
  const { request } = change;
  const targets = now.disks.map((disk) => disk.target);
  const macs = now.nics.map((nic) => nic.mac.toLowerCase());
  const disksChange = (request.disksChange ?? []).flatMap(({ capacityBytes, ...rest }): DiskChange[] => {
    const grow = running && capacityBytes !== undefined ? { capacityBytes } : {};
    return Object.keys({ ...rest, ...grow }).length > 1 ? [{ ...rest, ...grow }] : [];
  });
  const hardware = pick(request, hardwareKeys);
  return {
    ...(request.cpu && { cpu: withRoom(now.cpu, request.cpu) }),
    ...(request.memory && { memory: request.memory }),
    disksAdd: change.disks.filter((disk) => !targets.includes(disk.target)),
    disksRemove: (request.disksRemove ?? []).map((each) => each.target).filter((target) => targets.includes(target)),
    disksChange,
    nicsAdd: change.nics.filter((nic) => !macs.includes(nic.mac.toLowerCase())),
    nicsRemove: (request.nicsRemove ?? []).map((each) => each.mac).filter((mac) => macs.includes(mac.toLowerCase())),
    nicsChange: request.nicsChange ?? [],
    ...(Object.keys(hardware).length > 0 && { hardware }),
    metadata: change.metadata,
  };
}

/** What brings a running guest back to `before`; its persistent configuration is restored as a whole, besides. */
export function toInverse(change: ResolvedChange, before: VmSpec, now: VmSpec): GuestChange {
  const { request } = change;
  const wasDisk = (target: string): VmDisk | undefined => before.disks.find((disk) => disk.target === target);
  const disksAdded = change.disks.map((disk) => disk.target);
  const macsAdded = change.nics.map((nic) => nic.mac.toLowerCase());
  const missing = before.disks.filter((disk) => !now.disks.some((each) => each.target === disk.target));
  const missingNics = before.nics.filter((nic) => !now.nics.some((each) => sameMac(each, nic)));
  return {
    ...(request.cpu && {
      cpu: pick(
        { ...neutral(noCpuTuning, now.cpu), ...before.cpu },
        Object.keys(request.cpu) as (keyof VmSpec["cpu"])[],
      ),
    }),
    ...(request.memory && {
      memory: pick(
        { ...neutral(noMemoryLimit, now.memory), ...before.memory },
        Object.keys(request.memory) as (keyof VmSpec["memory"])[],
      ),
    }),
    disksAdd: missing,
    disksRemove: now.disks.map((disk) => disk.target).filter((target) => disksAdded.includes(target)),
    disksChange: (request.disksChange ?? []).flatMap((each): DiskChange[] => {
      const disk = wasDisk(each.target);
      if (disk === undefined) return [];
      const ioLimit = each.ioLimit === undefined ? {} : { ioLimit: disk.ioLimit ?? noLimit };
      const source = each.source === undefined ? {} : { source: disk.source ?? null };
      return [{ target: each.target, ...ioLimit, ...source }];
    }),
    nicsAdd: missingNics,
    nicsRemove: now.nics.map((nic) => nic.mac).filter((mac) => macsAdded.includes(mac.toLowerCase())),
    nicsChange: (request.nicsChange ?? []).flatMap(({ mac }) => {
      const nic = before.nics.find((each) => sameMac(each, { mac }));
      if (nic === undefined) return [];
      return [{ mac, linkUp: nic.linkUp ?? true, ...(nic.network === undefined ? {} : { network: nic.network }) }];
    }),
  };
}

/** What takes a running guest's setting away. */
const noCpuTuning: Pick<VmCpuChange, "pinning" | "limitPct" | "emulatorPinning" | "shares"> = {
  pinning: [],
  limitPct: 0,
  emulatorPinning: null,
  shares: null,
};
const noMemoryLimit: Pick<VmSpec["memory"], "limitMiB"> = { limitMiB: 0 };
/** QEMU's block throttling: 0 is no limit. */
const noLimit = { totalBytesPerSecond: 0, totalIops: 0 } as const;

function sameMac(a: { readonly mac: string }, b: { readonly mac: string }): boolean {
  return a.mac.toLowerCase() === b.mac.toLowerCase();
}

/** Only of what is set now: a host that could not set it can't take it away either. */
function neutral<T extends object>(values: T, now: { readonly [K in keyof T]?: unknown }): Partial<T> {
  return pick(
    values,
    (Object.keys(values) as (keyof T)[]).filter((key) => now[key] !== undefined),
  ) as Partial<T>;
}

/** The given keys, without those that are undefined. */
function pick<T extends object, K extends keyof T>(
  value: T,
  keys: readonly K[],
): { [P in K]?: Exclude<T[P], undefined> } {
  return Object.fromEntries(keys.filter((key) => value[key] !== undefined).map((key) => [key, value[key]])) as {
    [P in K]?: Exclude<T[P], undefined>;
  };
}

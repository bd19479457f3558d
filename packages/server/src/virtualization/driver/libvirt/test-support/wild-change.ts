/**
 * Changes of one field each, for documents of any kind: what is asked, what of the document it may touch, and how one
 * sees that it arrived. Used by the test that makes them on every domain of libvirt's own tests.
 */
import type { Element } from "@xmldom/xmldom";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import type { GuestChange } from "#virtualization/port.ts";
import { diskByTarget } from "../domain-xml/disk.ts";
import { child, children, remove, removeIfEmpty } from "../domain-xml/element.ts";
import { nicByMac } from "../domain-xml/nic.ts";

export interface FieldChange {
  readonly change: GuestChange;
  /** Takes out of a document what the change may touch, there and nowhere else. */
  readonly strip: (root: Element) => void;
  readonly arrived: (spec: VmSpec) => boolean;
}

/** undefined: the domain has nothing of the kind. */
type Maker = (spec: VmSpec) => FieldChange | undefined;

const mac = "52:54:00:fe:dc:ba";
const target = "vdzz";

function stripEach(...paths: readonly string[]): (root: Element) => void {
  return (root) => {
    for (const path of paths) {
      remove(child(root, path));
      const parent = path.slice(0, path.lastIndexOf("/"));
      if (parent !== "") removeIfEmpty(child(root, parent));
    }
  };
}

/** Some domains have no <devices> before. */
function stripDevices(find: (root: Element) => readonly (Element | undefined)[]): (root: Element) => void {
  return (root) => {
    for (const device of find(root)) remove(device);
    removeIfEmpty(child(root, "devices"));
  };
}

function stripBoot(root: Element): void {
  for (const boot of children(child(root, "os"), "boot")) remove(boot);
  for (const device of children(child(root, "devices"))) remove(child(device, "boot"));
}

const isDisk = (disk: VmSpec["disks"][number]): boolean => disk.device === "disk" && disk.target !== "";

export const fieldChanges: Readonly<Record<string, Maker>> = {
  "cpu.shares": () => ({
    change: { cpu: { shares: 1234 } },
    strip: stripEach("cputune/shares"),
    arrived: (spec) => spec.cpu.shares === 1234,
  }),
  "cpu.shares, taken away": ({ cpu }) =>
    cpu.shares === undefined
      ? undefined
      : {
          change: { cpu: { shares: null } },
          strip: stripEach("cputune/shares"),
          arrived: (spec) => spec.cpu.shares === undefined,
        },
  "cpu.count": ({ cpu }) => {
    const count = (cpu.maxCount ?? cpu.count) + 1;
    return {
      change: { cpu: { count, maxCount: count } },
      strip: stripEach("vcpus", "cpu/topology", "vcpu"),
      arrived: (spec) => spec.cpu.count === count,
    };
  },
  "cpu.limitPct": () => ({
    change: { cpu: { limitPct: 150 } },
    strip: stripEach("cputune/global_quota", "cputune/global_period"),
    arrived: (spec) => spec.cpu.limitPct === 150,
  }),
  "cpu.emulatorPinning": () => ({
    change: { cpu: { emulatorPinning: "0-1" } },
    strip: stripEach("cputune/emulatorpin"),
    arrived: (spec) => spec.cpu.emulatorPinning === "0-1",
  }),
  "memory.sizeMiB": ({ memory }) => ({
    change: { memory: { sizeMiB: memory.sizeMiB + 8 } },
    strip: stripEach("memory", "currentMemory"),
    arrived: (spec) => spec.memory.sizeMiB === memory.sizeMiB + 8,
  }),
  "memory.limitMiB": () => ({
    change: { memory: { limitMiB: 77_777 } },
    strip: stripEach("memtune/hard_limit"),
    arrived: (spec) => spec.memory.limitMiB === 77_777,
  }),
  "memory.locked": ({ memory }) => ({
    change: { memory: { locked: memory.locked !== true } },
    strip: stripEach("memoryBacking/locked"),
    arrived: (spec) => (spec.memory.locked ?? false) === (memory.locked !== true),
  }),
  "disksChange.ioLimit": ({ disks }) => {
    const disk = disks.find((each) => each.target !== "");
    return (
      disk && {
        change: { disksChange: [{ target: disk.target, ioLimit: { totalIops: 321 } }] },
        strip: (root) => {
          const tune = child(diskByTarget(root, disk.target), "iotune");
          for (const kind of ["total", "read", "write"]) {
            for (const unit of ["bytes", "iops"]) remove(child(tune, `${kind}_${unit}_sec`));
          }
          removeIfEmpty(tune);
        },
        arrived: (spec) => spec.disks.find((each) => each.target === disk.target)?.ioLimit?.totalIops === 321,
      }
    );
  },
  "disksChange.bootOrder": ({ disks }) => {
    const disk = disks.findLast(isDisk);
    return (
      disk && {
        change: { disksChange: [{ target: disk.target, bootOrder: 1 }] },
        strip: stripBoot,
        arrived: (spec) => spec.disks.find((each) => each.target === disk.target)?.bootOrder === 1,
      }
    );
  },
  "disksChange.source, ejected": ({ disks }) => {
    const drive = disks.find((each) => each.device === "cdrom" && each.source !== undefined && each.target !== "");
    return (
      drive && {
        change: { disksChange: [{ target: drive.target, source: null }] },
        strip: (root) => {
          const disk = diskByTarget(root, drive.target);
          for (const name of ["source", "backingStore", "mirror"]) remove(child(disk, name));
        },
        arrived: (spec) => spec.disks.find((each) => each.target === drive.target)?.source === undefined,
      }
    );
  },
  disksAdd: ({ domainType }) => ({
    change: {
      disksAdd: [
        {
          target,
          device: "disk",
          bus: domainType === "xen" ? "xen" : "virtio",
          sourceType: "file",
          source: "/v/z.img",
        },
      ],
    },
    strip: stripDevices((root) => [diskByTarget(root, target)]),
    arrived: (spec) => spec.disks.some((disk) => disk.target === target && disk.source === "/v/z.img"),
  }),
  disksRemove: ({ disks }) => {
    const disk = disks.find(isDisk);
    return (
      disk && {
        change: { disksRemove: [disk.target] },
        strip: (root) => {
          if (children(child(root, "devices"), "disk").length === disks.length) remove(diskByTarget(root, disk.target));
        },
        arrived: (spec) => spec.disks.length === disks.length - 1,
      }
    );
  },
  nicsAdd: () => ({
    change: { nicsAdd: [{ mac, type: "network", network: "default" }] },
    strip: stripDevices((root) => [nicByMac(root, mac)]),
    arrived: (spec) => spec.nics.some((nic) => nic.mac === mac && nic.network === "default"),
  }),
  "nicsChange.linkUp": ({ nics }) => {
    const nic = nics.find((each) => each.mac !== "");
    return (
      nic && {
        change: { nicsChange: [{ mac: nic.mac, linkUp: nic.linkUp === false }] },
        strip: (root) => remove(child(nicByMac(root, nic.mac), "link")),
        arrived: (spec) => spec.nics.find((each) => each.mac === nic.mac)?.linkUp === (nic.linkUp === false),
      }
    );
  },
  "nicsChange.network": ({ nics }) => {
    const nic = nics.find((each) => each.mac !== "" && ["network", "bridge"].includes(each.type));
    return (
      nic && {
        change: { nicsChange: [{ mac: nic.mac, network: "other" }] },
        strip: (root) => {
          const element = nicByMac(root, nic.mac);
          remove(child(element, "source"));
          element?.setAttribute("type", nic.type);
        },
        arrived: (spec) => spec.nics.find((each) => each.mac === nic.mac)?.network === "other",
      }
    );
  },
  ioThreads: ({ ioThreads = 0 }) => ({
    change: { hardware: { ioThreads: ioThreads + 1 } },
    strip: stripEach("iothreads"),
    arrived: (spec) => spec.ioThreads === ioThreads + 1,
  }),
  guestAgent: ({ guestAgent }) => ({
    change: { hardware: { guestAgent: guestAgent !== true } },
    strip: stripDevices((root) =>
      children(child(root, "devices"), "channel").filter(
        (channel) => child(channel, "target")?.getAttribute("name") === "org.qemu.guest_agent.0",
      ),
    ),
    arrived: (spec) => spec.guestAgent === (guestAgent !== true),
  }),
};

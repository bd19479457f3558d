/** A VM for people: its row in a list, and its page with everything one wants to know at a glance. */
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { ago } from "#output/time.ts";
import { type Column, pairText } from "#output/table.ts";
import { sizeText } from "#page/host.ts";
import { snapshotTree } from "#page/snapshot.ts";

export type VmRow = Vm & { readonly hostName: string };

export const vmColumns: readonly Column<VmRow>[] = [
  { name: "name", value: (vm) => vm.name },
  { name: "state", value: (vm) => vm.state },
  { name: "host", value: (vm) => vm.hostName },
  { name: "cpus", value: (vm) => String(vm.spec.cpu.count), right: true },
  { name: "memory", value: (vm) => sizeText(vm.spec.memory.sizeMiB), right: true },
  { name: "addresses", value: (vm) => addressesOf(vm).join(", ") },
  { name: "tags", value: (vm) => vm.tags.join(",") },
  { name: "folder", value: (vm) => vm.folder ?? "", extra: true },
  { name: "detail", value: (vm) => vm.stateDetail, extra: true },
  { name: "disks", value: (vm) => vm.spec.disks.map((disk) => disk.target).join(","), extra: true },
  { name: "managed", value: (vm) => (vm.managed ? "yes" : "adopted"), extra: true },
  { name: "template", value: (vm) => (vm.template ? "yes" : "no"), extra: true },
  { name: "uuid", value: (vm) => vm.uuid, extra: true },
  { name: "id", value: (vm) => vm.id, extra: true },
];

/** Without loopback and link-local ones, which lead nowhere; IPv4 first. */
export function addressesOf(vm: Pick<Vm, "addresses">): string[] {
  const all = vm.addresses.map(({ address }) => address).filter((address) => !/^(127\.|::1$|fe80:)/i.test(address));
  return [...new Set(all)].sort((left, right) => Number(left.includes(":")) - Number(right.includes(":")));
}

export function vmText(vm: VmRow, snapshots: readonly Snapshot[]): string {
  const { spec } = vm;
  const state = vm.stateDetail === "" ? vm.state : `${vm.state} (${vm.stateDetail})`;
  const pairs: [string, string][] = [
    ["name", vm.name],
    ["id", vm.id],
    ["uuid", vm.uuid],
    ["state", vm.startedAt === undefined || vm.state !== "running" ? state : `${state} since ${ago(vm.startedAt)}`],
    ["host", vm.hostName],
    ["managed", vm.managed ? "by Innkeeper" : "no: found on its host and left untouched"],
  ];
  if (vm.description !== "") pairs.push(["description", vm.description]);
  if (vm.tags.length > 0) pairs.push(["tags", vm.tags.join(", ")]);
  if (vm.folder !== undefined) pairs.push(["folder", vm.folder]);
  if (vm.template) pairs.push(["template", "yes"]);
  if (!vm.persistent) pairs.push(["persistent", "no: gone when it stops"]);
  pairs.push(
    ["addresses", addressLines(vm)],
    ["guest agent", vm.guestAgentConnected ? "connected" : "not connected"],
    ["CPU", cpuText(spec.cpu)],
    ["memory", memoryText(spec.memory)],
    ["machine", machineText(spec)],
    ["disks", spec.disks.map(diskText).join("\n") || "none"],
    ["network", spec.nics.map(nicText).join("\n") || "none"],
    ["snapshots", snapshotLines(snapshots)],
    ["created", ago(vm.createdAt)],
  );
  const other = (spec.otherHardware ?? []).map(({ kind, detail }) => `${kind}  ${detail}`);
  if (other.length > 0) pairs.push(["also has", other.join("\n")]);
  if (vm.pendingChanges.length > 0) pairs.push(["at next start", vm.pendingChanges.join("\n")]);
  return pairText(pairs);
}

function addressLines(vm: Vm): string {
  const known = new Set(addressesOf(vm));
  const lines = vm.addresses
    .filter(({ address }) => known.delete(address))
    .map(({ address, prefixLength, mac, source }) => {
      const prefix = prefixLength === undefined ? "" : `/${prefixLength}`;
      return `${address}${prefix}  (${[mac, `from ${source}`].filter(Boolean).join(", ")})`;
    });
  return lines.join("\n") || "none known";
}

function cpuText(cpu: Vm["spec"]["cpu"]): string {
  const topology = cpu.topology;
  const parts = [
    `${cpu.count}${cpu.maxCount === undefined || cpu.maxCount === cpu.count ? "" : ` of at most ${cpu.maxCount}`}`,
    cpu.model ?? "",
    topology === undefined ? "" : `${topology.sockets} sockets × ${topology.cores} cores × ${topology.threads} threads`,
    cpu.shares === undefined ? "" : `shares ${cpu.shares}`,
    cpu.limitPct === undefined ? "" : `limit ${cpu.limitPct} %`,
  ];
  const pins = (cpu.pinning ?? []).map(({ vcpu, hostCpus }) => `vCPU ${vcpu} pinned to host CPUs ${hostCpus}`);
  const emulator = cpu.emulatorPinning === undefined ? [] : [`QEMU itself pinned to host CPUs ${cpu.emulatorPinning}`];
  return [parts.filter((part) => part !== "").join(", "), ...pins, ...emulator].join("\n");
}

function memoryText(memory: Vm["spec"]["memory"]): string {
  const { sizeMiB, balloonMiB, hugepageKiB, reservationMiB, limitMiB, locked, numaCells } = memory;
  const parts = [
    sizeText(sizeMiB),
    balloonMiB === undefined || balloonMiB === sizeMiB
      ? ""
      : `of which the guest has ${sizeText(balloonMiB)} (balloon)`,
    hugepageKiB === undefined ? "" : `huge pages of ${sizeText(hugepageKiB / 1024)}`,
    reservationMiB === undefined ? "" : `${sizeText(reservationMiB)} guaranteed`,
    limitMiB === undefined ? "" : `at most ${sizeText(limitMiB)}`,
    locked === true ? "locked" : "",
  ];
  const cells = (numaCells ?? []).map(
    (cell, index) =>
      `NUMA cell ${index}: vCPUs ${cell.cpus}, ${sizeText(cell.memoryMiB)}${cell.hostNodes === undefined ? "" : `, host nodes ${cell.hostNodes}`}`,
  );
  return [parts.filter((part) => part !== "").join(", "), ...cells].join("\n");
}

function machineText(spec: Vm["spec"]): string {
  const parts = [
    spec.machine ?? "",
    spec.architecture,
    spec.domainType,
    spec.firmware ?? "",
    spec.tpm === true ? "TPM" : "",
    spec.graphics === undefined || spec.graphics === "none" ? "" : spec.graphics,
    spec.serial === true ? "serial console" : "",
    spec.autostart === true ? "autostart" : "",
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function diskText(disk: Vm["spec"]["disks"][number]): string {
  const kind = [
    disk.device === "disk" ? "" : disk.device,
    disk.bus,
    disk.format,
    disk.readOnly === true ? "read-only" : "",
    disk.shareable === true ? "shareable" : "",
    disk.transient === true ? "transient" : "",
    disk.encryption === undefined ? "" : `encrypted (${disk.encryption})`,
  ];
  const limits = Object.entries(disk.ioLimit ?? {}).filter(([, value]) => value > 0);
  const tuning = [
    disk.cache === undefined || disk.cache === "default" ? "" : `cache ${disk.cache}`,
    disk.io === undefined ? "" : `io ${disk.io}`,
    ...limits.map(([name, value]) => `${name} ${value}`),
  ];
  const layers = disk.backingChain?.length ?? 0;
  const chain = layers === 0 ? "" : `  on ${layers} layer${layers > 1 ? "s" : ""} below`;
  return `${disk.target}  ${disk.source ?? "(empty)"}  (${[...kind, ...tuning].filter(Boolean).join(", ")})${chain}`;
}

function nicText(nic: Vm["spec"]["nics"][number]): string {
  const parts = [nic.model, nic.hostDevice, nic.linkUp === false ? "link down" : undefined];
  const detail = parts.filter((part) => part !== undefined && part !== "").join(", ");
  return `${nic.mac}  ${nic.type} ${nic.network ?? ""}${detail === "" ? "" : `  (${detail})`}`;
}

function snapshotLines(snapshots: readonly Snapshot[]): string {
  const lines = snapshotTree(snapshots);
  return lines.length === 0 ? "none" : lines.join("\n");
}

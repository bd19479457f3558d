/** A host for people: its row in a list, its page. */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import { bytesPerMiB, formatBytes } from "@innkeeper/contract/unit.ts";
import type { ApiClient } from "#client.ts";
import { namesOf } from "#list.ts";
import { ago } from "#output/time.ts";
import { type Column, pairText } from "#output/table.ts";

/** `clusterName`: empty if it is in none. */
export type HostRow = Host & { readonly clusterName: string };

export async function hostRows(api: ApiClient, hosts: readonly Host[]): Promise<HostRow[]> {
  const isInAny = hosts.some(({ clusterId }) => clusterId !== undefined);
  const clusterName = isInAny ? await namesOf(api, "clusterList") : () => "";
  return hosts.map((host) => ({
    ...host,
    clusterName: host.clusterId === undefined ? "" : clusterName(host.clusterId),
  }));
}

export const hostColumns: readonly Column<HostRow>[] = [
  { name: "name", value: (host) => host.name },
  {
    name: "state",
    value: (host) => (host.maintenance ? `${host.connectionState}, maintenance` : host.connectionState),
  },
  { name: "cluster", value: (host) => host.clusterName },
  { name: "cpus", value: (host) => String(host.hardware?.cpuCount ?? ""), right: true },
  {
    name: "load",
    value: (host) => (host.usage === undefined ? "" : `${Math.round(host.usage.cpuLoadPct)} %`),
    right: true,
  },
  { name: "memory", value: (host) => sizeText(host.hardware?.memoryMiB), right: true },
  { name: "free", value: (host) => sizeText(host.usage?.memoryFreeMiB), right: true },
  { name: "kvm", value: kvmWord },
  { name: "libvirt", value: (host) => host.hardware?.libvirtVersion ?? "" },
  { name: "uri", value: (host) => host.uri },
  { name: "tags", value: (host) => host.tags.join(","), extra: true },
  { name: "detail", value: (host) => host.connectionDetail, extra: true },
  { name: "id", value: (host) => host.id, extra: true },
];

export function sizeText(sizeMiB: number | undefined): string {
  return sizeMiB === undefined ? "" : formatBytes(Math.round(sizeMiB) * bytesPerMiB);
}

function kvmWord(host: Host): string {
  const kvm = host.hardware?.kvm;
  if (kvm === undefined) return "";
  if (kvm.usable === null) return "untested";
  return kvm.usable ? "yes" : "no";
}

export function hostText(host: HostRow): string {
  const { hardware, usage } = host;
  const pairs: [string, string][] = [
    ["name", host.name],
    ["id", host.id],
    ["uri", host.uri],
    ["state", [host.connectionState, host.connectionDetail].filter((part) => part !== "").join(": ")],
    ["maintenance", host.maintenance ? "yes: no new guest is placed here" : "no"],
  ];
  if (host.clusterName !== "") pairs.push(["cluster", host.clusterName]);
  if (host.description !== "") pairs.push(["description", host.description]);
  if (host.tags.length > 0) pairs.push(["tags", host.tags.join(", ")]);
  pairs.push(["added", ago(host.addedAt)]);
  if (hardware !== undefined) pairs.push(...hardwarePairs(hardware));
  if (usage !== undefined) {
    const load = `${Math.round(usage.cpuLoadPct)} % of all CPUs`;
    pairs.push(["load", load], ["memory free", sizeText(usage.memoryFreeMiB)]);
  }
  return pairText(pairs);
}

function hardwarePairs(hardware: NonNullable<Host["hardware"]>): [string, string][] {
  const { cpuSockets, cpuCoresPerSocket, cpuThreadsPerCore, cpuMHz } = hardware;
  const topology = `${cpuSockets} sockets × ${cpuCoresPerSocket} cores × ${cpuThreadsPerCore} threads`;
  const clock = cpuMHz > 0 ? `, ${cpuMHz} MHz` : "";
  const machine = [hardware.vendor, hardware.product].filter((part) => part !== undefined).join(" ");
  const nodes = hardware.numaNodes.map(
    (node) => `node ${node.id}: CPUs ${ranges(node.cpus)}, ${sizeText(node.memoryMiB)}`,
  );
  return [
    ["hostname", hardware.hostname],
    ["machine", machine],
    ["CPU", `${hardware.cpuCount} × ${hardware.cpuModel} (${hardware.architecture})\n${topology}${clock}`],
    ["memory", sizeText(hardware.memoryMiB)],
    ["NUMA", nodes.join("\n")],
    ["KVM", kvmText(hardware.kvm)],
    ["guests", hardware.domainTypes.join(", ")],
    ["firmware", hardware.firmwares.join(", ")],
    ["TPM", hardware.tpmSupported ? "emulated TPM 2.0" : "no"],
    ["guests kept in by", confinementText(hardware.confinements)],
    ["hypervisor", `${hardware.hypervisor} ${hardware.hypervisorVersion}, libvirt ${hardware.libvirtVersion}`],
  ];
}

/** libvirt's security drivers; without one of the first two, a guest that breaks out of QEMU has what QEMU's user has. */
function confinementText(confinements: readonly string[] | undefined): string {
  if (confinements === undefined) return "";
  const [strong] = confinements.filter((each) => each === "selinux" || each === "apparmor");
  if (strong !== undefined) return `sVirt (${strong})`;
  return `${confinements.includes("dac") ? "QEMU's own user" : "nothing"}; no SELinux or AppArmor: see docs/security.md`;
}

export function kvmText(kvm: NonNullable<Host["hardware"]>["kvm"]): string {
  const refused = kvm.advertised ? "advertised, but no guest runs under it" : "no";
  const word = kvm.usable === null ? "not tested yet" : kvm.usable ? "yes: a guest ran under it" : refused;
  return kvm.detail === "" ? word : `${word} (${kvm.detail})`;
}

/** CPU numbers as libvirt and people write them: `0-3,8`. */
export function ranges(numbers: readonly number[]): string {
  const sorted = numbers.toSorted((left, right) => left - right);
  const parts: { first: number; last: number }[] = [];
  for (const number of sorted) {
    const part = parts.at(-1);
    if (part !== undefined && number <= part.last + 1) part.last = number;
    else parts.push({ first: number, last: number });
  }
  return parts.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(",");
}

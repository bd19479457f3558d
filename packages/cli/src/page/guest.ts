/** What the guest agent tells, and a VM's counters, for people. */
import type { VmGuest, VmStatistics } from "@innkeeper/contract/resource/vm.ts";
import { formatBytes, formatDurationMs } from "@innkeeper/contract/unit.ts";
import { pairText, tableText } from "#output/table.ts";
import { sizeText } from "#page/host.ts";

export function guestText(guest: VmGuest): string {
  const fileSystems = guest.fileSystems.map(({ mountPoint, type, usedBytes, totalBytes, disks }) => {
    const used =
      usedBytes === undefined || totalBytes === undefined
        ? ""
        : `  ${formatBytes(usedBytes)} of ${formatBytes(totalBytes)}`;
    return `${mountPoint}  ${type}${used}${disks.length === 0 ? "" : `  (${disks.join(", ")})`}`;
  });
  const interfaces = guest.interfaces.map(({ name, mac, addresses }) => {
    const all = addresses.map(
      ({ address, prefixLength }) => `${address}${prefixLength === undefined ? "" : `/${prefixLength}`}`,
    );
    return `${name}  ${mac ?? ""}  ${all.join(", ")}`;
  });
  return pairText([
    ["host name", guest.hostname ?? ""],
    ["system", [guest.osName, guest.osVersion].filter((part) => part !== undefined).join(" ")],
    ["kernel", guest.kernel ?? ""],
    ["time zone", guest.timezone ?? ""],
    ["logged in", guest.users.join(", ") || "nobody"],
    ["file systems", fileSystems.join("\n")],
    ["interfaces", interfaces.join("\n")],
  ]);
}

export function statisticsText(statistics: VmStatistics): string {
  const { memory } = statistics;
  const head = pairText([
    ["sampled", statistics.sampledAt],
    ["state", statistics.state],
    ["CPU time", formatDurationMs(statistics.cpuTimeNs / 1e6)],
    ["vCPUs", statistics.vcpus.map(({ number, timeNs }) => `${number}: ${formatDurationMs(timeNs / 1e6)}`).join(", ")],
    [
      "memory",
      `${sizeText(memory.balloonMiB)} of ${sizeText(memory.maxMiB)}, resident on the host ${sizeText(memory.residentMiB) || "unknown"}`,
    ],
    [
      "guest memory",
      memory.guestUnusedMiB === undefined
        ? ""
        : `${sizeText(memory.guestUnusedMiB)} free of ${sizeText(memory.guestAvailableMiB)}`,
    ],
  ]);
  const disks = tableText(statistics.disks, [
    { name: "disk", value: (disk) => disk.target },
    { name: "read", value: (disk) => formatBytes(disk.readBytes), right: true },
    { name: "reads", value: (disk) => String(disk.readRequests), right: true },
    { name: "written", value: (disk) => formatBytes(disk.writeBytes), right: true },
    { name: "writes", value: (disk) => String(disk.writeRequests), right: true },
    {
      name: "allocated",
      value: (disk) => (disk.allocationBytes === undefined ? "" : formatBytes(disk.allocationBytes)),
      right: true,
    },
  ]);
  const nics = tableText(statistics.nics, [
    { name: "card", value: (nic) => nic.name },
    { name: "received", value: (nic) => formatBytes(nic.receivedBytes), right: true },
    { name: "packets-in", value: (nic) => String(nic.receivedPackets), right: true },
    { name: "sent", value: (nic) => formatBytes(nic.sentBytes), right: true },
    { name: "packets-out", value: (nic) => String(nic.sentPackets), right: true },
    { name: "dropped", value: (nic) => String(nic.receivedDrops + nic.sentDrops), right: true },
  ]);
  return [
    head,
    statistics.disks.length === 0 ? "" : `\n${disks}`,
    statistics.nics.length === 0 ? "" : `\n${nics}`,
  ].join("");
}

/** A host as PowerCLI shows it. Facts: VMHost of VMware.VimAutomation.ViCore.Types.V1.Inventory, VMHostState. */
import type { HostRow } from "#page/host.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";
import { figure, gbOfMiB } from "#powercli/object/unit.ts";

export const hostStates = ["Connected", "Disconnected", "NotResponding", "Maintenance"] as const;
type HostState = (typeof hostStates)[number];

/** vSphere's name of it (Datacenter.hostFolder). */
const rootHostFolder = "host";

interface HostObject {
  readonly Name: string;
  readonly Id: string;
  readonly ConnectionState: HostState;
  readonly PowerState: "PoweredOn" | "Unknown";
  readonly NumCpu: number | null;
  readonly CpuTotalMhz: number | null;
  readonly CpuUsageMhz: number | null;
  readonly MemoryTotalGB: number | null;
  readonly MemoryUsageGB: number | null;
  readonly ProcessorType: string | null;
  readonly Manufacturer: string | null;
  readonly Model: string | null;
  readonly Version: string | null;
  readonly Tags: readonly string[];
  readonly Uri: string;
  readonly Detail: string;
  /** Its cluster, or the root folder of hosts. */
  readonly Parent: string;
}

export function hostState(host: Host): HostState {
  if (host.connectionState !== "connected") return "NotResponding";
  return host.maintenance ? "Maintenance" : "Connected";
}

export function hostObject(host: HostRow): HostObject {
  const { hardware, usage } = host;
  // Some daemons tell no clock.
  const totalMhz = hardware === undefined || hardware.cpuMHz === 0 ? null : hardware.cpuCount * hardware.cpuMHz;
  const usedMiB = hardware === undefined || usage === undefined ? null : hardware.memoryMiB - usage.memoryFreeMiB;
  return {
    Name: host.name,
    Id: host.id,
    ConnectionState: hostState(host),
    PowerState: host.connectionState === "connected" ? "PoweredOn" : "Unknown",
    NumCpu: hardware?.cpuCount ?? null,
    CpuTotalMhz: totalMhz,
    CpuUsageMhz: totalMhz === null || usage === undefined ? null : Math.round((totalMhz * usage.cpuLoadPct) / 100),
    MemoryTotalGB: hardware === undefined ? null : gbOfMiB(hardware.memoryMiB),
    MemoryUsageGB: usedMiB === null ? null : gbOfMiB(usedMiB),
    ProcessorType: hardware?.cpuModel ?? null,
    Manufacturer: hardware?.vendor ?? null,
    Model: hardware?.product ?? null,
    Version: hardware === undefined ? null : `${hardware.hypervisor} ${hardware.hypervisorVersion}`,
    Tags: host.tags,
    Uri: host.uri,
    Detail: host.connectionDetail,
    Parent: host.clusterName === "" ? rootHostFolder : host.clusterName,
  };
}

function whole(value: number | null): string {
  return value === null ? "" : String(value);
}

export const hostKind: ObjectKind<HostObject> = {
  columns: [
    { name: "Name", value: (host) => host.Name },
    { name: "ConnectionState", value: (host) => host.ConnectionState },
    { name: "PowerState", value: (host) => host.PowerState },
    { name: "NumCpu", value: (host) => whole(host.NumCpu), right: true },
    { name: "CpuUsageMhz", value: (host) => whole(host.CpuUsageMhz), right: true },
    { name: "CpuTotalMhz", value: (host) => whole(host.CpuTotalMhz), right: true },
    { name: "MemoryUsageGB", value: (host) => figure(host.MemoryUsageGB), right: true },
    { name: "MemoryTotalGB", value: (host) => figure(host.MemoryTotalGB), right: true },
    { name: "Version", value: (host) => host.Version ?? "" },
    { name: "Parent", value: (host) => host.Parent, extra: true },
    { name: "Uri", value: (host) => host.Uri, extra: true },
    { name: "Id", value: (host) => host.Id, extra: true },
  ],
};

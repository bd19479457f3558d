// The few facts of a definition that the simulation works with, so that the definition itself need not be kept parsed.
import { attributeOf, elements, find, textOf } from "#xml/element.ts";
import type { Element } from "#xml/element.ts";

export interface DiskFact {
  readonly target: string;
  /** File, device or volume; none for an empty drive. */
  readonly source: string | undefined;
  readonly device: string;
  readonly bus: string;
}

export interface NicFact {
  readonly mac: string;
  /** "network", "bridge", "user", … */
  readonly type: string;
  /** The network's or bridge's name. */
  readonly source: string | undefined;
  /** The interface on the host; known of a running guest. */
  readonly device: string | undefined;
}

export interface DomainFacts {
  readonly domainType: string;
  readonly memoryKiB: number;
  readonly currentKiB: number;
  readonly maxVcpus: number;
  readonly vcpus: number;
  readonly disks: readonly DiskFact[];
  readonly nics: readonly NicFact[];
  readonly hasBalloon: boolean;
  /** The balloon's statistics are read so often; 0: never. */
  readonly balloonPeriodS: number;
  /** The guest has a channel for QEMU's guest agent. */
  readonly hasAgent: boolean;
}

export function readFacts(domain: Element): DomainFacts {
  const devices = find(domain, "devices");
  const memoryKiB = Number(textOf(domain, "memory") ?? 0);
  const maxVcpus = Number(textOf(domain, "vcpu") ?? 1);
  return {
    domainType: domain.attributes.get("type") ?? "",
    memoryKiB,
    currentKiB: Number(textOf(domain, "currentMemory") ?? memoryKiB),
    maxVcpus,
    vcpus: Number(attributeOf(domain, "vcpu", "current") ?? maxVcpus),
    disks: elements(devices, "disk").map(diskFact),
    nics: elements(devices, "interface").map(nicFact),
    hasBalloon: attributeOf(devices, "memballoon", "model") !== "none",
    balloonPeriodS: Number(attributeOf(devices, "memballoon", "stats", "period") ?? 0),
    hasAgent: elements(devices, "channel").some(
      (channel) => attributeOf(channel, "target", "name") === "org.qemu.guest_agent.0",
    ),
  };
}

export function sourceOf(disk: Element): string | undefined {
  const source = find(disk, "source");
  const { file, dev, name, volume } = Object.fromEntries(source?.attributes ?? []);
  return file ?? dev ?? name ?? volume;
}

function diskFact(disk: Element): DiskFact {
  return {
    target: attributeOf(disk, "target", "dev") ?? "",
    source: sourceOf(disk),
    device: disk.attributes.get("device") ?? "disk",
    bus: attributeOf(disk, "target", "bus") ?? "",
  };
}

function nicFact(nic: Element): NicFact {
  const type = nic.attributes.get("type") ?? "";
  return {
    mac: attributeOf(nic, "mac", "address") ?? "",
    type,
    source: attributeOf(nic, "source", type === "direct" ? "dev" : type),
    device: attributeOf(nic, "target", "dev"),
  };
}

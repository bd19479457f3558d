/** Checks of a migration: the ports that it goes through, and addresses and ports that the hypervisor opens for the guest. */
import type { MigrationFinding } from "@innkeeper/contract/resource/migration.ts";
import type { GuestListener } from "#virtualization/migration/port.ts";
import type { MigrationFacts } from "./migration-fact.ts";
import { refused, warned } from "./migration-finding.ts";

export function checkPort(facts: MigrationFacts): MigrationFinding[] {
  const listeners = facts.traits?.listeners ?? [];
  const findings = listeners.flatMap((each) => [...checkAddress(facts, each), ...checkCollision(facts, each)]);
  // One that is off moves all the same, but may fail to start there.
  const told = facts.live
    ? findings
    : findings.map(({ message, remedy, device = "" }) => warned("port", message, remedy, { device }));
  return [...checkWay(facts), ...told];
}

/** Seen from the control plane, and of one port of the range: a hint, no proof. */
function checkWay({ live, source, target, reception }: MigrationFacts): MigrationFinding[] {
  if (!live || reception?.port.state !== "filtered") return [];
  const message = `Port ${reception.port.number} of host ${target.name} does not let Innkeeper through; memory and disks are sent to its ports 49152 to 49215.`;
  const remedy = `Let host ${source?.name ?? "the source"} reach these ports (or those of migration_port_min and _max in ${target.name}'s /etc/libvirt/qemu.conf).`;
  return [warned("port", message, remedy)];
}

function checkAddress(
  { source, target, traits, reception, networks }: MigrationFacts,
  { device, address }: GuestListener,
): MigrationFinding[] {
  if (reception === undefined || address === undefined || isEveryHosts(address)) return [];
  const own = [
    ...reception.hostAddresses,
    ...reception.listeners.map((other) => other.address),
    ...networks.flatMap((network) => (network.active ? network.addresses.map((each) => each.split("/")[0]) : [])),
  ];
  if (own.includes(address)) return [];
  const remedy = `Let it listen on an address that both hosts have, or on 0.0.0.0 (or ::) behind a packet filter; a guest that runs takes it at its next start (virsh edit).`;
  if (traits?.hostAddresses.includes(address) === true) {
    const message = `Device ${device} listens on ${address}, which is an address of host ${source?.name ?? "that it is on"}: host ${target.name} can't open it.`;
    return [refused("port", "unsupported", message, remedy, { device })];
  }
  const message = `Device ${device} listens on ${address}; whether host ${target.name} has this address can't be seen, since libvirt does not tell.`;
  return [
    warned("port", message, `Look with \`ip address\` on host ${target.name}. If it has not: ${remedy}`, { device }),
  ];
}

function checkCollision({ target, reception }: MigrationFacts, own: GuestListener): MigrationFinding[] {
  const other = reception?.listeners.find((each) => isCollision(own, each));
  if (other === undefined) return [];
  const message = `Device ${own.device} has the fixed port ${own.port}, which ${other.device} of VM ${other.guest} has on host ${target.name}.`;
  const remedy = `Give one of the two another port (graphics: autoport='yes'), or power VM ${other.guest} off.`;
  return [refused("port", "conflict", message, remedy, { device: own.device })];
}

/** libvirt gives a port to one guest's graphics at a time, whatever its address (libvirt 9.0 virportallocator.c). */
function isCollision(one: GuestListener, other: GuestListener): boolean {
  if (one.port === undefined || one.port !== other.port) return false;
  if (one.kind === "graphics" && other.kind === "graphics") return true;
  if ((one.kind === "udp") !== (other.kind === "udp")) return false;
  return isAny(one.address) || isAny(other.address) || one.address === other.address;
}

function isAny(address: string | undefined): boolean {
  return address === undefined || address === "0.0.0.0" || address === "::";
}

function isEveryHosts(address: string): boolean {
  return isAny(address) || address.startsWith("127.") || address === "::1" || address === "localhost";
}

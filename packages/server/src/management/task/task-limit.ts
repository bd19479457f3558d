/**
 * How many tasks run at once: on one host, because its libvirt answers five requests of a client at a time and its disks and
 * memory are shared, and in all, so that a storm of a thousand starts is work for a few hundred at any moment. Which of those
 * that wait is next is claim-table.ts's. A task must not wait for another one: it holds a place meanwhile.
 */
import type { Claims, Limit } from "#management/task/operation.ts";
import { isHostClaim } from "#management/task/resource-claim.ts";

/** What a task is for a host. */
const loads = {
  start: { perHost: 8, inAll: 128 },
  /** Whole disks are written. */
  copy: { perHost: 4, inAll: 64 },
  /** At either end: they share the network, more at a time make each slower (vSphere: 4 on 1 Gbit/s). */
  migration: { perHost: 2, inAll: 64 },
} as const;
type Load = keyof typeof loads;

const loadOf: Readonly<Record<string, Load>> = {
  "vm.start": "start",
  "vm.resume": "start",
  "vm.reboot": "start",
  "vm.reset": "start",
  "snapshot.revert": "start",
  "vm.create": "copy",
  "vm.clone": "copy",
  "volume.create": "copy",
  "volume.resize": "copy",
  "snapshot.delete": "copy",
  "vm.migrate": "migration",
};

const anyPerHost = 16;
const anyInAll = 256;

/** The claims with the limits that hold for the operation. */
export function withLimits(operation: string, claims: Claims): Claims {
  const load = loadOf[operation];
  // Tasks that wait for hosts that are gone take no places from those of the others.
  const inAll: Limit[] = [
    { key: "task", max: anyInAll, onlyAtWork: true },
    ...(load === undefined ? [] : [{ key: load, max: loads[load].inAll, onlyAtWork: true as const }]),
  ];
  const { limited = [], ...rest } = withHostLimits(operation, claims);
  return { ...rest, limited: [...inAll, ...limited] };
}

/** Only with those of its hosts: for what is claimed besides. */
export function withHostLimits(operation: string, claims: Claims): Claims {
  const load = loadOf[operation];
  const hosts = [...claims.exclusive, ...(claims.shared ?? [])].filter(isHostClaim);
  const onHosts = hosts.flatMap((host) => [
    { key: `task on ${host}`, max: anyPerHost },
    ...(load === undefined ? [] : [{ key: `${load} on ${host}`, max: loads[load].perHost }]),
  ]);
  return { ...claims, limited: [...(claims.limited ?? []), ...onHosts] };
}

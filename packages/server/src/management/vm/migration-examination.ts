/**
 * To which hosts a VM could move now, and what is in the way: every host is examined as the migration itself does it. It may
 * move to any; those of its own cluster are told first.
 */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { VmMigrationCheck, VmMigrationReport } from "@innkeeper/contract/resource/migration.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Call } from "#core/call.ts";
import { mapLimited } from "#core/concurrency.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { migrationReport } from "./migration-check.ts";
import { askedFacts, type FactDeps, readDeparture } from "./migration-fact.ts";

const parallelHosts = 4;

export async function examineMigration(
  deps: FactDeps,
  vmId: string,
  { host: named, ...request }: VmMigrationCheck,
  call: Call,
): Promise<VmMigrationReport> {
  const { inventory } = deps;
  const stored = inventory.require("vm", vmId, { field: "vmId" });
  const targets: readonly Host[] =
    named === undefined ? ownClusterFirst(inventory, stored) : [inventory.require("host", named, { field: "host" })];
  const departure = await readDeparture(deps, stored, call);
  const facts = await mapLimited(targets, parallelHosts, (target) =>
    askedFacts(deps, departure, target, request, call),
  );
  const hosts = facts.map((each) => {
    const cluster = inventory.get("cluster", each.target.clusterId ?? "");
    return { ...migrationReport(each), ...(cluster && { clusterName: cluster.name }) };
  });
  const { vm } = departure;
  return { vmId: vm.id, vmName: vm.name, fromHostId: vm.hostId, live: isActive(vm), hosts };
}

function ownClusterFirst(inventory: Inventory, vm: Vm): readonly Host[] {
  const own = inventory.get("host", vm.hostId)?.clusterId ?? undefined;
  const others = inventory.list("host").filter(({ id }) => id !== vm.hostId);
  return others.toSorted((left, right) => Number(right.clusterId === own) - Number(left.clusterId === own));
}

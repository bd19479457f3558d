/** To which hosts a VM could move now, and what is in the way: every host is examined as the migration itself does it. */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { VmMigrationCheck, VmMigrationReport } from "@innkeeper/contract/resource/migration.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Call } from "#core/call.ts";
import { mapLimited } from "#core/concurrency.ts";
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
    named === undefined
      ? inventory.list("host").filter(({ id }) => id !== stored.hostId)
      : [inventory.require("host", named, { field: "host" })];
  const departure = await readDeparture(deps, stored, call);
  const facts = await mapLimited(targets, parallelHosts, (target) =>
    askedFacts(deps, departure, target, request, call),
  );
  const hosts = facts.map(migrationReport);
  const { vm } = departure;
  return { vmId: vm.id, vmName: vm.name, fromHostId: vm.hostId, live: isActive(vm), hosts };
}

/**
 * What every task claims shared, from its target and request alone, so that no operation forgets it: the hosts that it
 * works on, which must not be removed meanwhile, the pool that its volume is in, and the volumes of its VM, which must not be deleted, resized or
 * overwritten meanwhile. Total: what is not in the inventory is not claimed, for the operation's check tells of it.
 */
import type { ResourceRef, Task } from "@innkeeper/contract/resource/task.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { volumeClaimOfPath } from "#management/pool/volume-claim.ts";
import type { Claims } from "#management/task/operation.ts";

export function hostClaim(hostId: string): string {
  return `host:${hostId}`;
}

export function isHostClaim(claim: string): boolean {
  return claim.startsWith(hostClaim(""));
}

export function poolClaim(poolId: string): string {
  return `storage-pool:${poolId}`;
}

/** Of a place that a task chooses as it runs: that it stays. */
export function placeClaims(inventory: Inventory, hostId: string, poolNames: readonly string[]): Claims {
  const pools = inventory.byHost("storage-pool", hostId).filter(({ name }) => poolNames.includes(name));
  return { exclusive: [], shared: [hostClaim(hostId), ...pools.map(({ id }) => poolClaim(id))] };
}

export function withSharedClaims(
  inventory: Inventory,
  claims: Claims,
  target: ResourceRef | undefined,
  input: unknown,
): Claims {
  const hosts = present([hostOf(inventory, target), hostOfRequest(inventory, input)]).map(hostClaim);
  const pools = present([poolOf(inventory, target), poolOfRequest(inventory, input)?.id]).map(poolClaim);
  const vm = vmOf(inventory, target);
  const volumes = vm === undefined ? [] : volumesOf(inventory, vm);
  const alone = new Set(claims.exclusive);
  const shared = new Set([...(claims.shared ?? []), ...hosts, ...pools, ...volumes]);
  return { ...claims, shared: [...shared].filter((key) => !alone.has(key)) };
}

/** Tasks that have not ended and whose target is something on the host. */
export function tasksOnHost(inventory: Inventory, hostId: string): Task[] {
  return inventory
    .list("task")
    .filter(
      ({ finishedAt, target }) =>
        finishedAt === undefined && target?.kind !== "host" && hostOf(inventory, target) === hostId,
    );
}

function hostOf(inventory: Inventory, target: ResourceRef | undefined): string | undefined {
  switch (target?.kind) {
    case "host":
      return target.id;
    case "vm":
    case "snapshot":
      return vmOf(inventory, target)?.hostId;
    case "volume":
    case "storage-pool":
    case "network":
    case "image":
      return inventory.get(target.kind, target.id)?.hostId;
    default:
      return undefined;
  }
}

function poolOf(inventory: Inventory, target: ResourceRef | undefined): string | undefined {
  return target?.kind === "volume" ? inventory.get("volume", target.id)?.poolId : undefined;
}

/** Requests name a host as `host`, by id or name, or have it by their pool. */
function hostOfRequest(inventory: Inventory, input: unknown): string | undefined {
  const host = fieldOf(fieldOf(input, "request"), "host");
  if (typeof host !== "string") return poolOfRequest(inventory, input)?.hostId;
  return (inventory.get("host", host) ?? inventory.by("host", "name", host)[0])?.id;
}

function poolOfRequest(inventory: Inventory, input: unknown): StoragePool | undefined {
  const poolId = fieldOf(fieldOf(input, "request"), "poolId");
  return typeof poolId === "string" ? inventory.get("storage-pool", poolId) : undefined;
}

function vmOf(inventory: Inventory, target: ResourceRef | undefined): Vm | undefined {
  if (target?.kind === "vm") return inventory.get("vm", target.id);
  if (target?.kind !== "snapshot") return undefined;
  const snapshot = inventory.get("snapshot", target.id);
  return snapshot === undefined ? undefined : inventory.get("vm", snapshot.vmId);
}

function volumesOf(inventory: Inventory, vm: Vm): string[] {
  return vm.spec.disks
    .flatMap((disk) => [...(disk.source === undefined ? [] : [disk.source]), ...(disk.backingChain ?? [])])
    .flatMap((path) => present([volumeClaimOfPath(inventory, vm.hostId, path)]));
}

function present<T>(values: readonly (T | undefined)[]): T[] {
  return values.filter((value) => value !== undefined);
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

/**
 * What a migration had to leave on a host that could not be asked: a dead definition, copies of disks, state files, an
 * autostart that was switched off meanwhile. It is remembered in the store and taken away when the host is back. Invariant:
 * nothing is removed from a host unless another one was asked in that moment and has the VM, and nothing that runs.
 */
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { childrenOf } from "#management/snapshot/layer.ts";
import { readWorld } from "#management/snapshot/layer-world.ts";
import { deleteFiles } from "#management/snapshot/merge.ts";
import { newEvent } from "#management/reconcile/resource-event.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { readGuestIfAny, removeGuest, unlessGone } from "./guest-read.ts";
import { endDouble, isExecuting } from "./migration-place.ts";
import { type DiskCopy, removeCopies } from "./migration-volume.ts";

/** Key: host and UUID. */
const space = "migration-leftover";
const tries = 5;
const retryMs = 2_000;

export interface Leftover {
  readonly hostId: string;
  readonly vmId: string;
  readonly vmName: string;
  readonly uuid: string;
  /** Volumes that the migration made there, or may have made. */
  readonly copies: readonly DiskCopy[];
  /** Paths of disks that were there, and went along. */
  readonly copiedPaths: readonly string[];
  readonly stateFiles: readonly string[];
  /** As of a Move. */
  readonly keepsState?: boolean;
  /** To be set if the VM turns out to be there. */
  readonly autostart: boolean;
}

export async function rememberLeftover(deps: OperationDeps, leftover: Leftover): Promise<void> {
  const { hostId, uuid, vmId, vmName } = leftover;
  const host = deps.inventory.get("host", hostId);
  const message = `What the migration of VM ${vmName} left on host ${host?.name ?? hostId} is removed when the host is back`;
  await deps.store.transaction(async (transaction) => {
    const key = `${hostId} ${uuid}`;
    const isNew = (await transaction.getPrivate(space, key)) === undefined;
    await transaction.putPrivate(space, key, leftover);
    const subjects = [{ id: vmId, name: vmName }, host ?? hostId];
    if (isNew)
      await transaction.put("event", newEvent(deps.clock, "vm.migration-leftover", "warning", message, subjects));
  });
}

/** Called when a host is connected again. What can't be done now stays for the next time. */
export async function cleanLeftovers(deps: OperationDeps, call: Call): Promise<void> {
  const entries = await deps.store.transaction((transaction) => transaction.listPrivate(space));
  for (const { key, value } of entries) {
    for (let attempt = 1; attempt <= tries && !call.signal.aborted; attempt++) {
      try {
        if (await clean(deps, value as Leftover, call)) {
          await deps.store.transaction((transaction) => transaction.deletePrivate(space, key));
        }
        break;
      } catch (error) {
        deps.log.warn({ err: error, leftover: key, attempt }, "what a migration left could not be removed");
        await deps.clock.sleep(retryMs, call.signal).catch(() => undefined);
      }
    }
  }
}

/** True when there is nothing more to do. */
async function clean(deps: OperationDeps, leftover: Leftover, call: Call): Promise<boolean> {
  const { hostId, uuid, vmId } = leftover;
  if (deps.inventory.get("host", hostId) === undefined) return true;
  const connected = deps.providers.connectedHostIds();
  if (!connected.includes(hostId)) return false;
  const vm = deps.inventory.get("vm", vmId);
  if (vm !== undefined && vm.hostId !== hostId) {
    if (!connected.includes(vm.hostId)) return false;
    const elsewhere = await readGuestIfAny(deps.providers.get(vm.hostId).guest, uuid, call);
    // Someone else has moved or removed it since: what this host has may be all that there is.
    if (elsewhere === undefined) return true;
    const move = { sourceId: hostId, targetId: vm.hostId, uuid, live: true };
    if (isExecuting(elsewhere)) await endDouble(deps, move, call);
    return await removeRest(deps, leftover, call);
  }
  if (vm !== undefined && leftover.autostart) {
    await deps.providers.get(hostId).guest.migration.setAutostart(uuid, true, call).catch(unlessGone);
  }
  return true;
}

async function removeRest(deps: OperationDeps, leftover: Leftover, call: Call): Promise<boolean> {
  const { hostId, uuid, vmId, copiedPaths, stateFiles, keepsState = false } = leftover;
  const { guest } = deps.providers.get(hostId);
  const here = await readGuestIfAny(guest, uuid, call);
  if (here !== undefined && isActive(here)) {
    deps.log.warn({ hostId, uuid, state: here.state }, "what a migration left is in use: it stays");
    return here.state !== "paused"; // an incoming one that its libvirt has not dropped yet
  }
  if (here !== undefined) await removeGuest(guest, uuid, call, { keepState: keepsState });
  await removeCopies(deps, hostId, await unusedCopies(deps, leftover, call), call);
  await deleteCopied(deps, { hostId, vmId, uuid, copiedPaths }, call);
  await guest.migration.deleteState({ uuid, paths: stateFiles }, call);
  await deps.hostSync.syncVm(hostId, uuid, call);
  deps.log.info({ hostId, uuid }, "removed what a migration had left");
  return true;
}

/** Those that nobody there has taken into use since. */
async function unusedCopies(deps: OperationDeps, leftover: Leftover, call: Call): Promise<DiskCopy[]> {
  const { hostId } = leftover;
  const copies = leftover.copies.filter(isKnown);
  if (copies.length < leftover.copies.length) {
    deps.log.warn({ leftover }, "copies of disks that another version of Innkeeper made are left as they are");
  }
  if (copies.length === 0) return [];
  const isNeeded = await readNeeds(deps, leftover, call);
  const pools = deps.inventory.byHost("storage-pool", hostId);
  return copies.filter(({ volume: { poolName, name } }) => {
    const folder = pools.find((pool) => pool.name === poolName)?.path;
    return folder === undefined || !isNeeded(`${folder}/${name}`);
  });
}

/** An earlier version remembered plans of disks. */
function isKnown(copy: Partial<DiskCopy>): copy is DiskCopy {
  return copy.volume !== undefined;
}

/** Whether someone on the host reads the volume at a path, besides the VM that has left. */
async function readNeeds(
  deps: OperationDeps,
  { hostId, vmId, uuid }: Pick<Leftover, "hostId" | "vmId" | "uuid">,
  call: Call,
): Promise<(path: string) => boolean> {
  const world = await readWorld(deps, hostId, [], call);
  // The copy that is ended there may have been taken for a VM of its own.
  const isSame = (id: string): boolean => id === vmId || deps.inventory.get("vm", id)?.uuid === uuid;
  return (path) =>
    childrenOf(world, path).length > 0 || world.holds.some((hold) => hold.path === path && !isSame(hold.id));
}

/** Disks that went along, unless someone on their old host still reads them. Returns the paths that stay. */
export async function deleteCopied(
  deps: OperationDeps,
  gone: Pick<Leftover, "hostId" | "vmId" | "uuid" | "copiedPaths">,
  call: Call,
): Promise<string[]> {
  const { hostId, copiedPaths } = gone;
  if (copiedPaths.length === 0) return [];
  const isNeeded = await readNeeds(deps, gone, call);
  const doomed = copiedPaths.filter((path) => !isNeeded(path));
  const outside = await deleteFiles(deps, hostId, doomed, call);
  return [...copiedPaths.filter(isNeeded), ...outside];
}

/** Guests that may be gone (removed with virsh, never defined by an interrupted attempt, or transient and stopped). */
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { Guest, GuestHypervisor } from "#virtualization/port.ts";

export async function readGuestIfAny(guest: GuestHypervisor, uuid: string, call: Call): Promise<Guest | undefined> {
  try {
    return await guest.inventory.read(uuid, call);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** A guest that is off with its memory saved goes on from there: on other disks it would destroy them. `what` as after "can't". */
export function refuseSavedMemory(guest: Pick<Guest, "name" | "hasSavedMemory">, what: string): void {
  if (!guest.hasSavedMemory) return;
  const message = `VM ${guest.name} is off with its memory saved (virsh managedsave), which fits only its disks and configuration as they are now: it can't ${what}.`;
  throw new AppError("invalid_state", message, {
    remedy: `Start it once and shut it down, or give the saved memory up with \`virsh managedsave-remove ${guest.name}\`.`,
  });
}

/** Idempotent: off or gone is fine. */
export async function stopGuest(guest: GuestHypervisor, uuid: string, call: Call): Promise<void> {
  await guest.lifecycle.forceOff(uuid, call).catch(unlessGone);
}

/** Stops and forgets it. Idempotent: gone is fine. */
export async function removeGuest(
  guest: GuestHypervisor,
  uuid: string,
  call: Call,
  options: { readonly keepState?: boolean } = {},
): Promise<void> {
  await stopGuest(guest, uuid, call);
  await guest.lifecycle.undefine(uuid, options, call).catch(unlessGone);
}

/** Of a VM that the task defined: a guest of its UUID that is not marked as that VM is someone else's, and stays. */
export async function removeOwnGuest(
  guest: GuestHypervisor,
  vm: { readonly id: string; readonly uuid: string },
  call: Call,
): Promise<void> {
  const there = await readGuestIfAny(guest, vm.uuid, call);
  if (there?.metadata?.vmId === vm.id) await removeGuest(guest, vm.uuid, call);
}

/** For a promise's catch: what is gone needs no more. */
export function unlessGone(error: unknown): void {
  if (!isGone(error)) throw error;
}

function isGone(error: unknown): boolean {
  return error instanceof AppError && error.code === "not_found";
}

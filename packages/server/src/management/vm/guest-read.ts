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

/** Idempotent: off or gone is fine. */
export async function stopGuest(guest: GuestHypervisor, uuid: string, call: Call): Promise<void> {
  await guest.lifecycle.forceOff(uuid, call).catch(unlessGone);
}

/** Stops and forgets it. Idempotent: gone is fine. */
export async function removeGuest(guest: GuestHypervisor, uuid: string, call: Call): Promise<void> {
  await stopGuest(guest, uuid, call);
  await guest.lifecycle.undefine(uuid, call).catch(unlessGone);
}

function unlessGone(error: unknown): void {
  if (!isGone(error)) throw error;
}

function isGone(error: unknown): boolean {
  return error instanceof AppError && error.code === "not_found";
}

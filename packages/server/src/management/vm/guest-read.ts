/** Reading a guest that may be gone (removed with virsh, or transient and stopped). */
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { Guest, GuestHypervisor } from "#virtualization/port.ts";

export async function readGuestIfAny(guest: GuestHypervisor, uuid: string, call: Call): Promise<Guest | undefined> {
  try {
    return await guest.inventory.read(uuid, call);
  } catch (error) {
    if (error instanceof AppError && error.code === "not_found") return undefined;
    throw error;
  }
}

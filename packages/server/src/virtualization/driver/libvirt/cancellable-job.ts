/**
 * A job that one libvirt call runs to its end (a live migration, a snapshot with memory) and that goes on in the host's
 * daemon when the call is given up. Invariant: its caller's signal cancels it and its own end is waited for, since only
 * that says what came of it. Two exceptions: a control plane that stops leaves it to go on, and is told of it at the next
 * start; one that does not end within minutes of being cancelled is reported as such.
 */
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { isLibvirtCode } from "#libvirt/error.ts";
import type { DomainCall, GuestDriverContext } from "./driver-context.ts";

/** Aborting drops what was sent or saved; what takes longer hangs, on storage or a network that is gone. */
const endMs = 5 * 60_000;
/** QEMU has nothing to cancel in the first moments of a job, and a job may be short. */
const askIntervalMs = 50;
const askDeadlineMs = 30_000;

/** `domain.options` must not carry the caller's signal. `cancelledWords`: what its user reads after a cancellation. */
export async function cancellableJob<T>(
  context: GuestDriverContext,
  domain: DomainCall,
  call: Call,
  job: Promise<T>,
  cancelledWords: string,
): Promise<T> {
  const over = new AbortController();
  const abandoned = Promise.withResolvers<never>();
  const cancelling = { asked: false };
  const onAbort = (): void => {
    const reason: unknown = call.signal.reason;
    if (reason instanceof AppError && reason.code === "shutting_down") return abandoned.reject(reason);
    cancelling.asked = true;
    cancel(context, domain, over.signal).catch(abandoned.reject);
  };
  if (call.signal.aborted) onAbort();
  else call.signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([job, abandoned.promise]);
  } catch (error) {
    if (cancelling.asked && isLibvirtCode(error, "VIR_ERR_OPERATION_ABORTED")) {
      throw new AppError("cancelled", cancelledWords, { cause: error });
    }
    throw error;
  } finally {
    call.signal.removeEventListener("abort", onAbort);
    over.abort();
  }
}

/** The job may not have begun, or be in a phase that can't be cancelled: asked again until it ends. */
async function cancel({ clock }: GuestDriverContext, { remote, dom }: DomainCall, over: AbortSignal): Promise<void> {
  const deadlineMs = clock.monotonicMs() + endMs;
  while (!over.aborted) {
    if (clock.monotonicMs() > deadlineMs) {
      throw new AppError("timeout", "The host was told to end the VM's job, and has not within 5 minutes.", {
        remedy: "See `virsh domjobinfo` on its host; the VM's storage or the network between the hosts may be gone.",
      });
    }
    const signal = AbortSignal.any([over, AbortSignal.timeout(askDeadlineMs)]);
    await remote.domainAbortJob({ dom }, { signal }).catch(() => undefined);
    await clock.sleep(askIntervalMs, over).catch(() => undefined);
  }
}

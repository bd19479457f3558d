/** Why QEMU stopped a guest for an I/O error: what virsh domblkerror tells (libvirt 9.0 virDomainDiskErrorCode). */
import { type CallOptions, type Connection, type NonnullDomain, VIR_DOMAIN_PAUSED } from "@innkeeper/libvirt";
import { stateReason } from "./state.ts";

/** virDomainPausedReason. */
const pausedByIoError = 5;
/** By virDomainDiskErrorCode. */
const words: readonly string[] = ["no error", "unspecified error", "no space left"];
/** VIR_DOMAIN_DISK_ERRORS_MAX is 256 (remote_protocol.x). */
const errorsMax = 256;

/** The reason of a state in libvirt's words; for an I/O error also which disk and why: `I/O error: vda: no space left`. */
export async function stateDetail(
  remote: Connection["remote"],
  dom: NonnullDomain,
  {
    name,
    state,
    reason,
  }: { readonly name: Parameters<typeof stateReason>[0]; readonly state: number; readonly reason: number },
  options: CallOptions,
): Promise<string> {
  const detail = stateReason(name, reason);
  if (state !== VIR_DOMAIN_PAUSED || reason !== pausedByIoError) return detail;
  // Drivers other than QEMU's lack the call, and the guest may be gone: the state stands without it.
  const { errors } = await remote
    .domainGetDiskErrors({ dom, maxerrors: errorsMax, flags: 0 }, options)
    .catch(() => ({ errors: [] }));
  const disks = errors.map(({ disk, error }) => `${disk}: ${words[error] ?? `error ${error}`}`);
  return disks.length === 0 ? detail : `${detail}: ${disks.join(", ")}`;
}

/** What the guest agent tells (libvirt 9.0 virDomainGetGuestInfo, whose docs list the parameters). */
import { CallTimeoutError, type TypedParameters, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT } from "@innkeeper/libvirt";
import type { VmGuest } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import { isLibvirtCode } from "#libvirt/error.ts";
import { addressesOf } from "./address.ts";
import type { DomainCall } from "./driver-context.ts";
import { defined } from "#core/defined.ts";
import { numberOf } from "./job-progress.ts";

/** An agent answers at once or not at all; libvirt itself waits 5 s for it to wake up. */
const agentDeadlineMs = 6000;

/** libvirt's codes for an agent that is not configured, not connected or silent. */
const unavailable: readonly string[] = [
  "VIR_ERR_AGENT_UNRESPONSIVE",
  "VIR_ERR_AGENT_UNSYNCED",
  "VIR_ERR_ARGUMENT_UNSUPPORTED",
  "VIR_ERR_OPERATION_TIMEOUT",
];

export async function readAgent({ remote, dom, options }: DomainCall): Promise<VmGuest> {
  const bounded = { ...options, timeoutMs: agentDeadlineMs };
  try {
    const { params } = await remote.domainGetGuestInfo({ dom, types: 0 }, bounded);
    const { ifaces } = await remote.domainInterfaceAddresses(
      { dom, source: VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT },
      bounded,
    );
    return { ...guestOf(params), interfaces: ifaces.map(interfaceOf) };
  } catch (error) {
    if (!(error instanceof CallTimeoutError) && !unavailable.some((name) => isLibvirtCode(error, name))) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new AppError("guest_agent_unavailable", `The VM's guest agent does not answer: ${reason}`, { cause: error });
  }
}

function interfaceOf(each: Parameters<typeof addressesOf>[0][number]): VmGuest["interfaces"][number] {
  return {
    name: each.name,
    ...(each.hwaddr === null ? {} : { mac: each.hwaddr.toLowerCase() }),
    addresses: addressesOf([each], "agent"),
  };
}

export function guestOf(params: TypedParameters): Omit<VmGuest, "interfaces"> {
  const text = (name: string): string | undefined => {
    const value = params[name];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const each = (prefix: string): number[] =>
    Array.from({ length: numberOf(params[`${prefix}.count`]) ?? 0 }, (_unused, index) => index);
  return {
    ...defined({
      hostname: text("hostname"),
      osId: text("os.id"),
      osName: text("os.pretty-name") ?? text("os.name"),
      osVersion: text("os.version-id") ?? text("os.version"),
      kernel: text("os.kernel-release"),
      timezone: text("timezone.name"),
    }),
    users: [...new Set(each("user").flatMap((index) => text(`user.${index}.name`) ?? []))],
    fileSystems: each("fs").map((index) => ({
      mountPoint: text(`fs.${index}.mountpoint`) ?? "",
      type: text(`fs.${index}.fstype`) ?? "",
      ...defined({
        totalBytes: numberOf(params[`fs.${index}.total-bytes`]),
        usedBytes: numberOf(params[`fs.${index}.used-bytes`]),
      }),
      disks: each(`fs.${index}.disk`).flatMap((disk) => text(`fs.${index}.disk.${disk}.alias`) ?? []),
    })),
  };
}

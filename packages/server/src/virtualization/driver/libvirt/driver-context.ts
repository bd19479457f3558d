/**
 * What every part of the driver is given, and how a guest is named to libvirt. libvirt finds a domain by its UUID alone
 * (libvirt 9.0 virDomainObjListFindByUUID), so no call is spent on looking its name up; `id` -1 is "not known".
 */
import { type CallOptions, type Connection, type NonnullDomain, VIR_DOMAIN_XML_INACTIVE } from "@innkeeper/libvirt";
import type { Call } from "#core/call.ts";
import { type LibvirtContext, onConnection } from "#libvirt/session.ts";

export interface GuestDriverContext extends LibvirtContext {
  /** The libvirt URI of the host: its scheme says which hypervisor it is. */
  readonly uri: string;
}

export interface DomainCall {
  readonly connection: Connection;
  readonly remote: Connection["remote"];
  readonly dom: NonnullDomain;
  readonly options: { readonly signal: AbortSignal };
}

/** For calls that take as long as memory or disks are large; they end by the caller's signal. */
export const jobDeadlineMs = 24 * 3_600_000;

export function domainRef(uuid: string): NonnullDomain {
  return { name: uuid, uuid, id: -1 };
}

/** Runs `work` for one guest; `what` as in onConnection. */
export function onDomain<T>(
  context: GuestDriverContext,
  uuid: string,
  call: Call,
  what: string,
  work: (domain: DomainCall) => Promise<T>,
  deadlineMs?: number,
): Promise<T> {
  return onConnection(
    context,
    call,
    what,
    ({ connection, options }) => work({ connection, remote: connection.remote, dom: domainRef(uuid), options }),
    deadlineMs,
  );
}

/** The persistent definition; `flags` for more than everyone sees of it. */
export async function definitionXml(
  { remote, dom, options }: Pick<DomainCall, "remote" | "dom"> & { readonly options: CallOptions },
  flags: number = VIR_DOMAIN_XML_INACTIVE,
): Promise<string> {
  return (await remote.domainGetXmlDesc({ dom, flags }, options)).xml;
}

/** Without the connection's own deadline per call. */
export function untimed(options: CallOptions): CallOptions {
  return { ...options, timeoutMs: Number.POSITIVE_INFINITY };
}

/**
 * What the libvirt drivers of the four layers share: one connection to one host, kept by the hardware driver's link,
 * and the one way in which a call gets its deadline and its error in our words. Drivers hold a session, never a
 * connection: the next call after a loss goes over the new one.
 */
import type { Connection } from "@innkeeper/libvirt";
import type { Call } from "#core/call.ts";
import type { Clock } from "#core/clock.ts";
import { within } from "#core/deadline.ts";
import type { Logger } from "#core/log.ts";
import { mapLibvirtError } from "./error.ts";

export interface LibvirtSession {
  /** The open connection. AppErrors when there is none: host_unreachable, host_untrusted, host_refused, timeout. */
  connection(call: Call): Promise<Connection>;
  /** Told of a call that was not answered in time, while nothing that may take long was under way. */
  unanswered?(connection: Connection): void;
}

export interface LibvirtContext {
  readonly session: LibvirtSession;
  readonly log: Logger;
  readonly clock: Clock;
}

/** Fits into what libvirtd works on at a time for one client, with room for others (max_client_requests, 5). */
export const parallelCalls = 3;

/** Calls that only read libvirtd's own memory or ask QEMU a short question. */
export const shortDeadlineMs = 15_000;
/** Calls that start processes, mount file systems or touch disks. */
export const longDeadlineMs = 120_000;

export interface ConnectedCall {
  readonly connection: Connection;
  /** To be passed to every procedure: `connection.remote.domainCreate({ dom }, options)`. */
  readonly options: { readonly signal: AbortSignal; readonly timeoutMs: number };
}

/** How many calls are under way on a connection that may take long. */
const longCalls = new WeakMap<Connection, number>();

/**
 * Runs `work` on the host's connection, with a deadline over all of it. `what` is what was tried, in the user's words,
 * as in "create volume a.qcow2 in pool default"; errors become AppErrors that begin with it.
 */
export async function onConnection<T>(
  context: Pick<LibvirtContext, "session">,
  call: Call,
  what: string,
  work: (connected: ConnectedCall) => Promise<T>,
  deadlineMs: number = shortDeadlineMs,
): Promise<T> {
  const isLong = deadlineMs > shortDeadlineMs;
  const used: { connection?: Connection; isLate?: boolean } = {};
  try {
    return await within(call.signal, deadlineMs, async ({ signal }) => {
      signal.addEventListener("abort", () => (used.isLate = !call.signal.aborted));
      used.connection = await context.session.connection({ signal });
      if (isLong) countLong(used.connection, 1);
      return await work({ connection: used.connection, options: { signal, timeoutMs: deadlineMs } });
    });
  } catch (error) {
    throw mapLibvirtError(error, { what, cancelledBy: call.signal, deadlineMs, uri: used.connection?.uri });
  } finally {
    const { connection, isLate } = used;
    if (isLong && connection !== undefined) countLong(connection, -1);
    if (connection !== undefined && isLate === true && !isOnLongCall(connection)) {
      context.session.unanswered?.(connection);
    }
  }
}

/** What it is asked now may have to wait for them. */
export function isOnLongCall(connection: Connection): boolean {
  return longCalls.has(connection);
}

function countLong(connection: Connection, by: number): void {
  const count = (longCalls.get(connection) ?? 0) + by;
  if (count === 0) longCalls.delete(connection);
  else longCalls.set(connection, count);
}

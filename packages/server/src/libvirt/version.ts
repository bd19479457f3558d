/**
 * Which libvirt a host must have. Everything that the drivers call and every flag that they send is in the oldest
 * supported release (a test reads their sources for what is newer); newer daemons are spoken to as to that one. Who
 * needs more asks for the daemon's version.
 */
import { type CallOptions, type Connection, procedureSince } from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";

/** Debian 11's; RHEL 8.6 and 9, Ubuntu 22.04 and openSUSE 15.4 have newer ones. */
export const minimumLibvirtVersion = 7_000_000n;

const versions = new WeakMap<Connection, bigint>();

/** Of the connection's daemon, asked once: one that is upgraded is connected to anew. */
export async function libvirtVersion(connection: Connection, options: CallOptions): Promise<bigint> {
  const known = versions.get(connection);
  if (known !== undefined) return known;
  const { libVer } = await connection.remote.connectGetLibVersion({}, options);
  versions.set(connection, libVer);
  return libVer;
}

/** AppError unsupported when the daemon is older. */
export async function requireSupported(connection: Connection, options: CallOptions): Promise<void> {
  const libVer = await libvirtVersion(connection, options);
  if (libVer >= minimumLibvirtVersion) return;
  throw new AppError(
    "unsupported",
    `The host's libvirt is ${formatVersion(libVer)}; Innkeeper needs ${formatVersion(minimumLibvirtVersion)} or newer.`,
    {
      field: "uri",
      remedy:
        "Upgrade the host: Debian 11, RHEL 8.6, Ubuntu 22.04, openSUSE Leap 15.4 and everything after them are new enough.",
    },
  );
}

/** What a daemon without the procedure would need to be, as the end of a sentence. */
export function procedureNeed(procedure: string): string {
  const release = procedureSince[procedure];
  return release === undefined ? `one that has ${procedure}` : `${release} or newer, which has ${procedure}`;
}

/** libvirt's version numbers: major * 1,000,000 + minor * 1,000 + release. */
export function formatVersion(version: bigint): string {
  const number = Number(version);
  return `${Math.floor(number / 1_000_000)}.${Math.floor(number / 1000) % 1000}.${number % 1000}`;
}

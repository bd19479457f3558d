// libvirt connection URIs (https://libvirt.org/uri.html, src/remote/remote_sockets.c and doRemoteOpen in
// src/remote/remote_driver.c): driver[+transport]://[user@][host][:port]/path[?parameters].
import { ConnectError } from "#rpc/error.ts";

export type TransportName = "unix" | "tcp" | "tls" | "ssh";

export interface ConnectionUri {
  /** The URI as it was given. */
  readonly text: string;
  /** "qemu", "xen", "lxc", "test", … ; "remote" lets the daemon choose. */
  readonly driver: string;
  readonly transport: TransportName;
  /** Empty for a local socket. IPv6 addresses without brackets. */
  readonly host: string;
  readonly port: number | null;
  readonly user: string | null;
  readonly path: string;
  /** libvirt's own parameters, by lower-case name. */
  readonly parameters: ReadonlyMap<string, string>;
  /** What ConnectOpen is told: the URI without transport, host and libvirt's own parameters. */
  readonly name: string;
}

/** libssh and libssh2 are other SSH clients of the same transport. */
const TRANSPORTS: Readonly<Record<string, TransportName>> = {
  unix: "unix",
  tcp: "tcp",
  tls: "tls",
  ssh: "ssh",
  libssh: "ssh",
  libssh2: "ssh",
};

/** Parameters that the client keeps for itself; all others are passed on to the driver (doRemoteOpen). */
const OWN = new Set([
  "name",
  "command",
  "socket",
  "auth",
  "sshauth",
  "netcat",
  "keyfile",
  "pkipath",
  "known_hosts",
  "known_hosts_verify",
  "tls_priority",
  "mode",
  "proxy",
  "no_sanity",
  "no_verify",
  "no_tty",
  "authfile",
]);

export function parseUri(text: string): ConnectionUri {
  const fail = (reason: string): never => {
    throw new ConnectError("uri", `${JSON.stringify(text)} is not a libvirt URI: ${reason}`);
  };
  const match = /^([a-z][a-z0-9]*)(?:\+([a-z0-9]+))?:/iu.exec(text);
  if (match === null) return fail("it has no scheme such as qemu: or qemu+ssh:");
  const driver = match[1]?.toLowerCase() ?? "";
  const transportText = match[2]?.toLowerCase();
  const url = URL.parse(text) ?? fail("it cannot be parsed");
  const host = decodeURIComponent(url.hostname).replace(/^\[|\]$/gu, "");
  const transport = transportText === undefined ? (host === "" ? "unix" : "tls") : TRANSPORTS[transportText];
  if (transport === undefined)
    return fail(`unknown transport ${transportText} (unix, tcp, tls, ssh, libssh and libssh2 exist)`);
  if (transport === "unix" && host !== "") return fail("a unix socket cannot be on another host");
  if (url.password !== "") return fail("a password does not belong into a URI");
  const parameters = new Map<string, string>();
  const passed = new URLSearchParams();
  for (const [key, value] of url.searchParams) {
    if (OWN.has(key.toLowerCase())) parameters.set(key.toLowerCase(), value);
    else passed.append(key, value);
  }
  const query = passed.size > 0 ? `?${passed.toString()}` : "";
  const name = parameters.get("name") ?? (driver === "remote" ? "" : `${driver}://${url.pathname}${query}`);
  return {
    text,
    driver,
    transport,
    parameters,
    name,
    host: host === "" && transport !== "unix" ? "localhost" : host,
    port: url.port === "" ? null : Number(url.port),
    user: url.username === "" ? null : decodeURIComponent(url.username),
    path: url.pathname,
  };
}

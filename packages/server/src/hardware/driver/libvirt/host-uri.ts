/**
 * Which libvirt URIs are accepted for a host, and why others are not. Nothing in a URI may weaken the connection
 * (no_verify), name a program to run (command, netcat), or name a file here (pkipath, keyfile, known_hosts): keys and
 * certificates are given with the host and kept by Innkeeper.
 * Facts: https://libvirt.org/uri.html; parameters of libvirt 9.0 doRemoteOpen (src/remote/remote_driver.c).
 */
import { isIP } from "node:net";
import { type ConnectionUri, ConnectError, parseUri } from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";

/** Parameters that only choose the daemon's socket. */
const allowedParameters: ReadonlySet<string> = new Set(["socket", "mode", "name"]);

export interface UriPolicy {
  /** Plain TCP to other machines: nothing is encrypted and nobody is authenticated. For laboratories. */
  readonly allowPlainTcp: boolean;
  /** Several control planes share the store: to each of them another machine is this one. */
  readonly isShared?: boolean;
}

/** invalid_field (`uri`) with the reason when a host can't be reached by this URI. */
export function checkHostUri(text: string, policy: UriPolicy): ConnectionUri {
  let uri: ConnectionUri;
  try {
    uri = parseUri(text);
  } catch (error) {
    throw refuse(error instanceof ConnectError ? error.message : "uri is not a libvirt URI", error);
  }
  for (const [name, value] of uri.parameters) {
    if (!allowedParameters.has(name)) throw refuse(`uri must not have the parameter ${name}`);
    if (name === "socket" && !/^\/\P{Cc}*$/u.test(value)) throw refuse("socket must be an absolute path");
  }
  if (uri.transport === "unix" && policy.isShared === true) {
    throw refuse(
      "a local socket is another host for each of the control planes that share this store: use qemu+ssh or qemu+tls, by a name that all of them reach",
    );
  }
  if (uri.transport !== "unix" && !isHostName(uri.host)) throw refuse(`${JSON.stringify(uri.host)} is no host name`);
  if (uri.transport === "tcp" && !policy.allowPlainTcp && !isLoopback(uri.host)) {
    throw refuse("plain TCP is only for this machine itself: use qemu+tls or qemu+ssh, which encrypt and authenticate");
  }
  return uri;
}

function isHostName(host: string): boolean {
  if (isIP(host) !== 0) return true;
  return host.length <= 253 && /^(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$/.test(host);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

function refuse(reason: string, cause?: unknown): AppError {
  return new AppError("invalid_field", `${reason}.`, { field: "uri", cause });
}

/**
 * The URI by which another host's libvirt daemon reaches a host: its own URI without what only the control plane needs
 * (parameters, and the user where certificates say who calls). https://libvirt.org/uri.html
 */
import type { Host } from "@innkeeper/contract/resource/host.ts";

/** undefined for a host that is managed through a local socket. */
export function migrationUri(host: Pick<Host, "uri">): string | undefined {
  const match = /^([a-z]+)(?:\+([a-z]+))?:\/\/([^/?]*)(\/[^?]*)?/.exec(host.uri);
  if (match === null) return undefined;
  const [, driver = "", transport = "tls", authority = "", path = "/system"] = match;
  if (authority === "" || transport === "unix") return undefined;
  const name = transport === "ssh" ? authority : authority.slice(authority.lastIndexOf("@") + 1);
  return `${driver}+${transport}://${name}${path}`;
}

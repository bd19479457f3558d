// What runs on the far side of an SSH connection (virNetClientSSHHelperCommand in libvirt's src/rpc/virnetclient.c):
// virt-ssh-helper, which finds the daemon's socket by itself, or netcat on a known socket path. Where the host has
// neither, SSH itself forwards the socket.
import { ConnectError } from "#rpc/error.ts";
import type { ConnectionUri } from "./uri.ts";

export type RemoteEnd =
  | { readonly kind: "command"; readonly command: string }
  | { readonly kind: "socket"; readonly path: string };

/** Tells on its output which of the programs the host has. */
export function probeCommand(uri: ConnectionUri): string {
  const netcat = quote(uri.parameters.get("netcat") ?? "nc");
  return script(
    `command -v virt-ssh-helper >/dev/null 2>&1 && echo helper; command -v ${netcat} >/dev/null 2>&1 && echo netcat; :`,
  );
}

/** @param found the probe's output. */
export function remoteEnd(uri: ConnectionUri, isReadOnly: boolean, found: string): RemoteEnd {
  const socket = uri.parameters.get("socket");
  const netcat = uri.parameters.get("netcat");
  const proxy = uri.parameters.get("proxy") ?? (socket !== undefined || netcat !== undefined ? "netcat" : "auto");
  const path = socket ?? `/var/run/libvirt/libvirt-sock${isReadOnly ? "-ro" : ""}`;
  const has = (word: string): boolean => found.split(/\s+/u).includes(word);
  switch (proxy) {
    case "native":
      if (socket !== undefined || netcat !== undefined)
        throw new ConnectError("uri", "proxy=native goes with neither socket= nor netcat=");
      return helper(uri, isReadOnly);
    case "auto":
      if (uri.path === "/session" || has("helper")) return helper(uri, isReadOnly);
      return has("netcat") ? netcatOn(path, "nc") : { kind: "socket", path };
    case "netcat":
      return has("netcat") || netcat !== undefined ? netcatOn(path, netcat ?? "nc") : { kind: "socket", path };
    default:
      throw new ConnectError("uri", `unknown proxy=${proxy} (auto, netcat and native exist)`);
  }
}

function helper(uri: ConnectionUri, isReadOnly: boolean): RemoteEnd {
  return { kind: "command", command: script(`exec virt-ssh-helper ${isReadOnly ? "-r " : ""}${quote(uri.name)}`) };
}

/** Netcat needs -q0 to end with its input where it knows that option. */
function netcatOn(path: string, netcat: string): RemoteEnd {
  const program = quote(netcat);
  const test = `if ${program} -q 2>&1 | grep "requires an argument" >/dev/null 2>&1; then A=-q0; else A=; fi`;
  return { kind: "command", command: script(`${test}; exec ${program} $A -U ${quote(path)}`) };
}

/** The login shell need not be a POSIX shell; sh is. */
function script(text: string): string {
  return `sh -c ${quote(text)}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

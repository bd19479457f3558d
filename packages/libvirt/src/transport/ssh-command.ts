// What runs on the far side of an SSH connection (virNetClientSSHHelperCommand in libvirt's src/rpc/virnetclient.c):
// virt-ssh-helper, which finds the daemon's socket by itself, or netcat on a known socket path. The script says on its
// error output which one it becomes; where the host has neither, SSH itself forwards the socket.
import { ConnectError } from "#rpc/error.ts";
import type { ConnectionUri } from "./uri.ts";

/** First line of the script's error output: a program took over. */
export const THROUGH = "innkeeper: through";
/** Or: the host has no program for it. */
export const NONE = "innkeeper: none";

export interface RemoteEnd {
  readonly command: string;
  /** The socket to forward when the script ends with NONE. */
  readonly socket: string;
}

export function remoteEnd(uri: ConnectionUri, isReadOnly: boolean): RemoteEnd {
  const socket = uri.parameters.get("socket");
  const netcat = uri.parameters.get("netcat");
  const proxy = uri.parameters.get("proxy") ?? (socket !== undefined || netcat !== undefined ? "netcat" : "auto");
  const path = socket ?? `/var/run/libvirt/libvirt-sock${isReadOnly ? "-ro" : ""}`;
  const helper = `${say(THROUGH)}; exec virt-ssh-helper ${isReadOnly ? "-r " : ""}${quote(uri.name)}`;
  const none = say(NONE);
  switch (proxy) {
    case "native":
      if (socket !== undefined || netcat !== undefined) {
        throw new ConnectError("uri", "proxy=native goes with neither socket= nor netcat=");
      }
      return { command: script(helper), socket: path };
    case "auto":
      // Where the socket of a session daemon is, only the helper knows.
      if (uri.path === "/session") return { command: script(helper), socket: path };
      return { command: script(choice(["virt-ssh-helper", helper], ["nc", netcatOn(path, "nc")], none)), socket: path };
    case "netcat":
      if (netcat !== undefined) return { command: script(netcatOn(path, netcat)), socket: path };
      return { command: script(choice(["nc", netcatOn(path, "nc")], none)), socket: path };
    default:
      throw new ConnectError("uri", `unknown proxy=${proxy} (auto, netcat and native exist)`);
  }
}

/** Netcat needs -q0 to end with its input where it knows that option. */
function netcatOn(path: string, netcat: string): string {
  const program = quote(netcat);
  const test = `if ${program} -q 2>&1 | grep "requires an argument" >/dev/null 2>&1; then A=-q0; else A=; fi`;
  return `${test}; ${say(THROUGH)}; exec ${program} $A -U ${quote(path)}`;
}

/** The first program that the host has; the last argument when it has none. */
function choice(...branches: (readonly [program: string, then: string] | string)[]): string {
  const [first, ...rest] = branches;
  if (first === undefined || typeof first === "string") return first ?? ":";
  const [program, then] = first;
  return `if command -v ${program} >/dev/null 2>&1; then ${then}; else ${choice(...rest)}; fi`;
}

function say(word: string): string {
  return `echo "${word}" >&2`;
}

/** The login shell need not be a POSIX shell; sh is. */
function script(text: string): string {
  return `sh -c ${quote(text)}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

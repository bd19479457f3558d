// Local sockets: which one (remoteGetUNIXSocket in libvirt's src/remote/remote_sockets.c) and how to connect to it.
import { existsSync } from "node:fs";
import { createConnection } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { established } from "./established.ts";
import type { Duplex } from "node:stream";
import type { ConnectionUri } from "./uri.ts";

/** The modular daemon's socket when it is there (mode=direct or auto), else libvirtd's. */
export function unixSocketPath(uri: ConnectionUri, isReadOnly: boolean): string {
  const explicit = uri.parameters.get("socket");
  if (explicit !== undefined) return explicit;
  const isSession = uri.path === "/session" && process.geteuid?.() !== 0;
  const folder = isSession ? join(runtimeFolder(), "libvirt") : "/run/libvirt";
  const suffix = !isSession && isReadOnly ? "sock-ro" : "sock";
  const legacy = join(folder, `libvirt-${suffix}`);
  const mode = uri.parameters.get("mode") ?? "auto";
  if (mode === "legacy" || uri.driver === "remote") return legacy;
  const direct = join(folder, `virt${uri.driver}d-${suffix}`);
  return mode === "direct" || existsSync(direct) ? direct : legacy;
}

function runtimeFolder(): string {
  return process.env["XDG_RUNTIME_DIR"] ?? process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
}

export function connectUnix(path: string, signal: AbortSignal): Promise<Duplex> {
  return established(createConnection({ path }), "connect", path, signal);
}

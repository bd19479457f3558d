// A real sshd for tests, inside a daemon's namespaces, on a loopback port, with keys of its own. It ends with the daemon.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Daemon } from "./daemon.ts";

export interface SshServer {
  readonly port: number;
  /** Private key that root may log in with. */
  readonly userKey: string;
  /** A line for known_hosts. */
  readonly knownHosts: string;
}

export function sshUnavailable(): string | null {
  return existsSync("/usr/sbin/sshd") ? null : "needs Debian's openssh-server";
}

export async function startSshServer(daemon: Daemon, port: number): Promise<SshServer> {
  const folder = join(daemon.folder, "ssh");
  mkdirSync(folder);
  for (const name of ["host", "user"])
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, name)]);
  const at = (name: string): string => join(folder, name);
  writeFileSync(at("authorized_keys"), readFileSync(at("user.pub")));
  writeFileSync(
    at("sshd_config"),
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${at("host")}`,
      `AuthorizedKeysFile ${at("authorized_keys")}`,
      "StrictModes no",
      "UsePAM no",
      "PermitRootLogin yes",
      "PasswordAuthentication no",
      "PidFile none",
      "",
    ].join("\n"),
  );
  const [command = "", ...args] = daemon.enter();
  const child = spawn(command, [...args, "/usr/sbin/sshd", "-D", "-e", "-f", at("sshd_config")], { stdio: "ignore" });
  const deadline = Date.now() + 20_000;
  while (!(await listens(port))) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error("sshd did not come up");
    await delay(20);
  }
  const [type, blob] = readFileSync(at("host.pub"), "utf8").split(" ");
  return { port, userKey: readFileSync(at("user"), "utf8"), knownHosts: `[127.0.0.1]:${port} ${type} ${blob}\n` };
}

function listens(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = createConnection({ host: "127.0.0.1", port });
  probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
  return promise.finally(() => probe.destroy());
}

// A real libvirtd for tests: in private mount and process namespaces, with all its folders under one temporary folder,
// so that nothing of the machine's own libvirt is seen or touched. Needs root. stop() kills the namespace's pid 1 and
// with it everything inside.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ChildProcess } from "node:child_process";

export interface DaemonOptions {
  /** PEM files for TLS; without them the daemon does not listen for TLS. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Lines for libvirtd.conf. */
  readonly configuration?: readonly string[];
  /** Its networks are its own: what it does to bridges and the firewall stays within. Its ports can't be reached then. */
  readonly ownNetwork?: boolean;
  /** It is in the network of that one: they reach each other on loopback. */
  readonly networkOf?: Daemon;
  /** Shell lines run inside the namespaces before libvirtd. */
  readonly prelude?: readonly string[];
}

export interface Daemon {
  readonly folder: string;
  readonly socket: string;
  readonly tcpPort: number;
  readonly tlsPort: number;
  /** The process id of libvirtd, as seen from outside. */
  readonly pid: () => number;
  /** The command's arguments to enter the daemon's namespaces. */
  readonly enter: () => readonly string[];
  readonly stop: () => Promise<void>;
}

/** Why daemons cannot be started here, or null. */
export function daemonUnavailable(): string | null {
  if (process.getuid?.() !== 0) return "needs root for private namespaces";
  if (!existsSync("/usr/sbin/libvirtd")) return "needs Debian's libvirt-daemon-system";
  return null;
}

const READY_MS = 60_000;

export async function startDaemon(options: DaemonOptions = {}): Promise<Daemon> {
  const folder = await mkdtemp(join(tmpdir(), "innkeeper-libvirtd-"));
  const socket = join(folder, "run", "libvirt-sock");
  const [tcpPort, tlsPort] = await freePorts();
  await writeFile(join(folder, "libvirtd.conf"), configuration(tcpPort, tlsPort, options));
  await writeFile(join(folder, "init.sh"), initScript(folder, options.prelude ?? []));
  const child = spawn(
    "setpriv",
    [
      "--pdeathsig",
      "KILL",
      ...(options.networkOf === undefined ? [] : ["nsenter", "-t", String(options.networkOf.pid()), "-n"]),
      "unshare",
      "-m",
      "-p",
      ...(options.ownNetwork === true ? ["-n"] : []),
      "-f",
      "--mount-proc",
      "--kill-child=SIGKILL",
      "bash",
      join(folder, "init.sh"),
    ],
    { stdio: "ignore" },
  );
  const stop = async (): Promise<void> => {
    await end(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready(child, socket, folder);
  } catch (error) {
    await stop();
    throw error;
  }
  const init = (): number => firstChild(child.pid ?? 0);
  return {
    folder,
    socket,
    tcpPort,
    tlsPort,
    stop,
    pid: () => firstChild(init()),
    enter: () => ["nsenter", "-t", String(init()), "-m", "-p"],
  };
}

function configuration(tcpPort: number, tlsPort: number, options: DaemonOptions): string {
  const { tls } = options;
  return [
    // libvirt takes the first of several settings of one name.
    ...(options.configuration ?? []),
    'unix_sock_group = "root"',
    'auth_unix_rw = "none"',
    'auth_unix_ro = "none"',
    "listen_tcp = 1",
    'listen_addr = "127.0.0.1"',
    `tcp_port = "${tcpPort}"`,
    'auth_tcp = "none"',
    `host_uuid = "${crypto.randomUUID()}"`,
    `listen_tls = ${tls === undefined ? 0 : 1}`,
    `tls_port = "${tlsPort}"`,
    ...(tls === undefined ? [] : [`ca_file = "${tls.ca}"`, `cert_file = "${tls.cert}"`, `key_file = "${tls.key}"`]),
    "",
  ].join("\n");
}

/** bash as pid 1 reaps what libvirtd leaves behind; an unreaped QEMU probe costs 40 s each. */
function initScript(folder: string, prelude: readonly string[]): string {
  return `set -e
cd "${folder}"
mount --make-rprivate /
mkdir -p etc lib cache log run nokvm.d
cp -a /etc/libvirt/. etc/
rm -rf etc/qemu/networks/autostart etc/qemu/*.xml etc/storage/autostart etc/storage/*.xml
printf 'user="root"\\ngroup="root"\\nsecurity_driver="none"\\ncgroup_controllers=[]\\nstdio_handler="file"\\nnamespaces=[]\\nremember_owner=0\\n' > etc/qemu.conf
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/lock /run/libvirt /run/sshd
mount --bind run /run/libvirt
mount --bind etc /etc/libvirt
mount --bind lib /var/lib/libvirt
mount --bind cache /var/cache/libvirt
mount --bind log /var/log/libvirt
mkdir -p /var/lib/libvirt/qemu /var/lib/libvirt/images /var/lib/libvirt/boot
if [ -e /dev/kvm ]; then : > nokvm; mount --bind nokvm /dev/kvm; mount -o remount,bind,ro /dev/kvm; fi
ip link set lo up
${prelude.join("\n")}
libvirtd --listen -f "${folder}/libvirtd.conf" > libvirtd.log 2>&1 &
daemon=$!
while kill -0 $daemon 2>/dev/null; do wait -n || :; done
`;
}

async function ready(child: ChildProcess, socket: string, folder: string): Promise<void> {
  const deadline = Date.now() + READY_MS;
  while (!(await accepts(socket))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      const log = join(folder, "libvirtd.log");
      throw new Error(`libvirtd did not come up: ${existsSync(log) ? readFileSync(log, "utf8") : "no log"}`);
    }
    await delay(20);
  }
}

function accepts(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = createConnection({ path });
  probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
  return promise.finally(() => probe.destroy());
}

async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()];
  const ports: number[] = [];
  for (const server of servers) {
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, "127.0.0.1", resolve);
    await promise;
    const address = server.address();
    ports.push(typeof address === "object" && address !== null ? address.port : 0);
  }
  for (const server of servers) server.close();
  return [ports[0] ?? 0, ports[1] ?? 0];
}

/** The first child of a process, by /proc; 0 when it has none. */
function firstChild(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0] ?? 0);
}

/** Killing the namespace's pid 1 ends everything inside; unshare exits when all of it is gone. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  const init = child.pid === undefined ? 0 : firstChild(child.pid);
  if (init > 0) process.kill(init, "SIGKILL");
  else child.kill("SIGKILL");
  await promise;
}

export async function freePort(): Promise<number> {
  return (await freePorts())[0];
}

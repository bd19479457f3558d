/**
 * One libvirt host of a lab. It runs when its pid 1 runs; everything else about it (disks, configuration) lies in its
 * folder and outlives a crash. The object holds no state: it looks at the machine each time, so that it tells the truth
 * also when another process crashed or started the host.
 */
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { CommandOptions, CommandResult } from "#command.ts";
import { hostLayout, nodeMark, type HostLayout } from "#layout.ts";
import { enterArguments, findNodeProcesses, killNode, runInNode, startNode } from "#namespace.ts";
import { connectHost, setHostLink } from "#network.ts";
import type { HostIdentity } from "#host-config.ts";
import { waitFor } from "#wait.ts";

const daemonStartTimeoutMs = 60_000;
const daemonPidFile = "/run/libvirtd.pid";

export class LabHost {
  readonly name: string;
  /** In the lab's subnet; libvirt listens there for TLS. */
  readonly address: string;
  /** What libvirt reports as the host's UUID. */
  readonly uuid: string;
  /** Trusts only the lab's authority: see Lab.clientTls. */
  readonly uri: string;
  readonly layout: HostLayout;
  readonly #mark: string;
  readonly #switchMark: string;

  constructor(labFolder: string, identity: HostIdentity) {
    this.name = identity.name;
    this.address = identity.address;
    this.uuid = identity.uuid;
    this.uri = `qemu+tls://${identity.address}/system`;
    this.layout = hostLayout(labFolder, identity.name);
    this.#mark = nodeMark(labFolder, identity.name);
    this.#switchMark = nodeMark(labFolder, switchName);
  }

  async isRunning(): Promise<boolean> {
    return (await findNodeProcesses(this.#mark)).init !== undefined;
  }

  /** Powers the host on and resolves when libvirtd answers. A host that runs already is left as it is. */
  async start(signal?: AbortSignal): Promise<void> {
    if (await this.isRunning()) return;
    const switchPid = await this.#switchPid();
    const pid = await startNode(
      {
        mark: this.#mark,
        hostName: this.name,
        folder: this.layout.folder,
        logFile: this.layout.initLogFile,
        binds: this.layout.privateFolders,
      },
      signal,
    );
    await connectHost({ pid, name: this.name, address: this.address }, switchPid, signal);
    await this.startLibvirtd(signal);
  }

  /** A power cut: the cable is dead first, so that no peer hears of it, then everything on the host at once. */
  async crash(signal?: AbortSignal): Promise<void> {
    if (!(await this.isRunning())) return;
    await setHostLink(this.name, await this.#switchPid(), "down", signal);
    await killNode(this.#mark, signal);
  }

  /** Pulls the cable: nobody reaches the host or its guests on the lab's segment, and the reverse. */
  async partition(signal?: AbortSignal): Promise<void> {
    await setHostLink(this.name, await this.#switchPid(), "down", signal);
  }

  async heal(signal?: AbortSignal): Promise<void> {
    await setHostLink(this.name, await this.#switchPid(), "up", signal);
  }

  /** Drops everything between this host and one address, both ways and unheard; to all others it stays connected. */
  async cutOff(address: string, signal?: AbortSignal): Promise<void> {
    for (const rule of cutRules(address)) await this.exec(["iptables", "--insert", ...rule], { signal });
  }

  /** Undoes `cutOff`. Connections that have not given up go on. */
  async rejoin(address: string, signal?: AbortSignal): Promise<void> {
    for (const rule of cutRules(address)) await this.exec(["iptables", "--delete", ...rule], { signal });
  }

  /** SIGKILL for the daemon; guests run on. Resolves when it is gone. */
  async killLibvirtd(signal?: AbortSignal): Promise<void> {
    const daemonPid = (await this.exec(["cat", daemonPidFile], { signal })).stdout.trim();
    // A minimal Debian has no kill(1); busybox is here for the guest.
    await this.exec(["busybox", "kill", "-KILL", daemonPid], { signal });
    await waitFor(
      `the end of libvirtd on ${this.name}`,
      async () =>
        await this.exec(["busybox", "kill", "-0", daemonPid], { signal }).then(
          () => undefined,
          () => true,
        ),
      { signal, timeoutMs: 10_000 },
    );
  }

  /** Resolves when the daemon answers: it accepts connections a second before its QEMU driver is ready. */
  async startLibvirtd(signal?: AbortSignal): Promise<void> {
    const daemon = ["libvirtd", "--daemon", "--listen", "--pid-file", daemonPidFile];
    await this.exec(daemon, { signal, timeoutMs: daemonStartTimeoutMs });
    await this.exec(["virsh", "--connect", "qemu:///system", "uri"], { signal, timeoutMs: daemonStartTimeoutMs });
  }

  /** Runs a program on the host to its end; rejects with CommandError unless it exits with 0. */
  async exec(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return await runInNode(await this.#pid(), argv, options);
  }

  /** Starts a program on the host, for those who want its streams or lend it their terminal. */
  async spawn(argv: readonly string[], stdio: StdioOptions): Promise<ChildProcess> {
    const [program = "", ...args] = enterArguments(await this.#pid(), argv);
    return spawn(program, args, { stdio });
  }

  async #pid(): Promise<number> {
    const { init } = await findNodeProcesses(this.#mark);
    if (init === undefined) throw new Error(`host ${this.name} is not running`);
    return init;
  }

  async #switchPid(): Promise<number> {
    const { init } = await findNodeProcesses(this.#switchMark);
    if (init === undefined) throw new Error("the lab's switch is not running: take the lab down and up again");
    return init;
  }
}

function cutRules(address: string): string[][] {
  return [
    ["INPUT", "--source", address, "--jump", "DROP"],
    ["OUTPUT", "--destination", address, "--jump", "DROP"],
  ];
}

const switchName = "switch";

/** The switch is a node without /etc of its own. Resolves with its pid 1. */
export async function startSwitch(labFolder: string, signal: AbortSignal | undefined): Promise<number> {
  const folder = path.join(labFolder, switchName);
  await mkdir(folder, { recursive: true });
  const logFile = path.join(folder, "init.log");
  return await startNode(
    { mark: nodeMark(labFolder, switchName), hostName: switchName, folder, logFile, binds: {} },
    signal,
  );
}

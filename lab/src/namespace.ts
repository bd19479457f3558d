/**
 * A node of the lab: a process tree in namespaces of its own (network, mounts, processes, host name, IPC) below a
 * reaping pid 1 (init.sh). Invariant: killing that pid 1 ends every process of the node, and with the last of them the
 * kernel removes its mounts and its network. The node outlives the process that made it and is found again by its mark.
 * Facts: unshare(1), nsenter(1), pid_namespaces(7), proc_pid_status(5).
 */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { open, readdir, readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { run, type CommandOptions, type CommandResult } from "#command.ts";
import { waitFor } from "#wait.ts";

interface NodeSpec {
  /** Unique on this machine; stands in the command line of the node's first processes. */
  readonly mark: string;
  readonly hostName: string;
  readonly folder: string;
  readonly logFile: string;
  /** Mount point on the node → the folder bound there, skipped where the mount point does not exist. */
  readonly binds: Readonly<Record<string, string>>;
}

const initScript = fileURLToPath(import.meta.resolve("#init.sh"));
const startTimeoutMs = 15_000;
const stopTimeoutMs = 15_000;

/** Starts the node and resolves with the id of its pid 1, as seen from here, once its file system is in place. */
export async function startNode(spec: NodeSpec, signal: AbortSignal | undefined): Promise<number> {
  signal?.throwIfAborted();
  await using logHandle = await open(spec.logFile, "a", 0o600);
  const binds = Object.entries(spec.binds).flatMap(([mountPoint, source]) => [source, mountPoint]);
  const namespaces = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child"];
  const script = ["/bin/sh", initScript, spec.mark, spec.hostName, spec.folder, ...binds];
  const child = spawn("unshare", [...namespaces, ...script], {
    detached: true,
    stdio: ["ignore", "pipe", logHandle.fd],
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8" },
    cwd: "/",
  }) as ChildProcessByStdio<null, Readable, null>;
  const deadline = AbortSignal.timeout(startTimeoutMs);
  const giveUp = AbortSignal.any(signal === undefined ? [deadline] : [signal, deadline]);
  const kill = (): void => void child.kill("SIGKILL");
  giveUp.addEventListener("abort", kill);
  try {
    if (!(await saysReady(child))) {
      signal?.throwIfAborted();
      const log = (await readFile(spec.logFile, "utf8")).trim();
      const why = deadline.aborted ? `it took more than ${startTimeoutMs} ms` : log;
      throw new Error(`the namespaces of ${spec.hostName} could not be set up: ${why}`);
    }
  } finally {
    giveUp.removeEventListener("abort", kill);
  }
  child.unref();
  const pid = (await findNodeProcesses(spec.mark)).init;
  if (pid === undefined) throw new Error(`${spec.hostName} ended as soon as it had started; see ${spec.logFile}`);
  return pid;
}

/** Resolves with false if the program ends, or could not be started, without having said so. */
function saysReady(child: ChildProcessByStdio<null, Readable, null>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let said = "";
    child.once("error", reject);
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk;
      if (said.includes("ready\n")) {
        resolve(true);
        child.stdout.destroy();
      }
    });
    child.stdout.once("close", () => resolve(false));
  });
}

interface NodeProcesses {
  /** The node's pid 1, by its id in this process's namespace. */
  readonly init: number | undefined;
  /** The unshare process that is its parent. */
  readonly parents: readonly number[];
}

/** Looks through all processes for the node's first two. Their command lines carry the mark as an argument. */
export async function findNodeProcesses(mark: string): Promise<NodeProcesses> {
  let init: number | undefined;
  const parents: number[] = [];
  for (const [pid, argv] of await listProcesses()) {
    if (!argv.includes(mark)) continue;
    if (await isFirstInNamespace(pid)) init = pid;
    else parents.push(pid);
  }
  return { init, parents };
}

/** Every process that can be seen here, with its argument array; those that end meanwhile are left out. */
export async function listProcesses(): Promise<Map<number, string[]>> {
  const pids = (await readdir("/proc")).filter((entry) => /^\d+$/u.test(entry));
  const found = await Promise.all(
    pids.map(async (pid) => [Number(pid), (await readOrEmpty(`/proc/${pid}/cmdline`)).split("\0")] as const),
  );
  return new Map(found.filter(([, argv]) => argv[0] !== ""));
}

async function isFirstInNamespace(pid: number): Promise<boolean> {
  const ids = /^NSpid:\s+(.*)$/mu.exec(await readOrEmpty(`/proc/${pid}/status`))?.[1]?.split(/\s+/u) ?? [];
  return ids.length > 1 && ids.at(-1) === "1";
}

async function readOrEmpty(file: string): Promise<string> {
  return await readFile(file, "utf8").catch(() => "");
}

/** Kills the node as a power cut does; resolves when no process of it is left. A node that does not run is no error. */
export async function killNode(mark: string, signal: AbortSignal | undefined): Promise<void> {
  await waitFor(
    `the end of ${mark}`,
    async () => {
      const { init, parents } = await findNodeProcesses(mark);
      if (init === undefined && parents.length === 0) return true;
      for (const pid of init === undefined ? parents : [init]) sendKill(pid);
      return undefined;
    },
    { signal, timeoutMs: stopTimeoutMs, intervalMs: 10 },
  );
}

function sendKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/**
 * The argument array that runs `argv` inside the node. To enter a process namespace nsenter has to fork; the program
 * dies with it all the same (setpriv(1) --pdeathsig), its own children that became daemons do not.
 */
export function enterArguments(pid: number, argv: readonly string[]): string[] {
  // --root: where this process runs in a chroot, the mount namespace's own root would be another.
  const namespaces = ["--net", "--mount", "--pid", "--uts", "--ipc", "--root"];
  return ["nsenter", "--target", String(pid), ...namespaces, "--", "setpriv", "--pdeathsig", "KILL", "--", ...argv];
}

export function runInNode(pid: number, argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
  return run(enterArguments(pid, argv), { workingFolder: "/", ...options });
}

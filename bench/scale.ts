/**
 * A fleet of simulated hosts, managed by a control plane:
 *   node bench/scale.ts [hosts] [VMs on each]
 * The simulator is a process of its own, whose costs are told apart. Adds all hosts, starts the control plane again, and
 * measures start, memory, polling, answers, and how soon and how surely changes on hosts come through to a watch.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { ServerProcess } from "@innkeeper/server/app/test-support/server-process.ts";
import { tellFleet } from "@innkeeper/sim/fleet/control.ts";
import { measureAnswers, widths } from "./answer.ts";
import { GuestStorm, watchVms } from "./guest-storm.ts";
import { startServer } from "./lab-server.ts";
import { cpuSeconds, printRow, residentMegabytes, timed, verdict } from "./measure.ts";

const hostCount = Number(process.argv[2] ?? 2500);
const vmsPerHost = Number(process.argv[3] ?? 20);
const vmCount = hostCount * vmsPerHost;
const addedAtOnce = 32;
const settleMs = 60_000;
const pollSeconds = 60;
const readyDeadlineMs = 30 * 60_000;

interface HostUri {
  readonly name: string;
  readonly uri: string;
}

async function startFleet(folder: string): Promise<{ readonly child: ChildProcess; readonly hosts: HostUri[] }> {
  const main = path.resolve(import.meta.dirname, "../packages/cli/src/main.ts");
  const counts = ["--cluster", "1", "--host", String(hostCount), "--vm", String(vmsPerHost), "--storage", "local"];
  const child = spawn(process.execPath, [main, "sim", "up", ...counts, "--folder", folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit").then(() => Promise.reject(new Error("the simulator ended")));
  await Promise.race([once(createInterface({ input: child.stdout }), "line"), exited]);
  exited.catch(() => undefined);
  const uris = await tellFleet(path.join(folder, "control.sock"), ["uris"]);
  const hosts = uris.split("\n").flatMap((line) => {
    const [name, uri] = line.split(/\s+/);
    return name === undefined || uri === undefined ? [] : [{ name, uri }];
  });
  return { child, hosts };
}

async function addHosts(server: ServerProcess, hosts: readonly HostUri[]): Promise<void> {
  const left = [...hosts];
  const worker = async (): Promise<void> => {
    for (let host = left.pop(); host !== undefined; host = left.pop()) await server.succeed("POST", "/hosts", host);
  };
  await Promise.all(Array.from({ length: addedAtOnce }, worker));
}

async function count(server: ServerProcess, what: string, filter: string): Promise<number> {
  const query = new URLSearchParams({ filter, limit: "1" });
  return (await server.call<{ totalCount: number }>("GET", `/${what}?${query}`)).totalCount;
}

/** All hosts are connected and all VMs known, in their states. */
async function untilKnown(server: ServerProcess): Promise<void> {
  const deadlineMs = performance.now() + readyDeadlineMs;
  for (;;) {
    const hosts = await count(server, "hosts", "state=connected");
    const vms = await count(server, "vms", "not state=unknown");
    if (hosts === hostCount && vms === vmCount) return;
    if (performance.now() > deadlineMs) throw new Error(`${hosts} hosts are connected, ${vms} VMs known`);
    await delay(500);
  }
}

async function measurePolling(server: ServerProcess, simulator: number): Promise<void> {
  await delay(settleMs);
  const before = await Promise.all([server.pid, simulator].map(cpuSeconds));
  await delay(pollSeconds * 1000);
  const after = await Promise.all([server.pid, simulator].map(cpuSeconds));
  const [ours = Number.NaN, theirs = Number.NaN] = after.map(
    (value, index) => ((value - (before[index] ?? 0)) * 100) / pollSeconds,
  );
  row("polling every 20 s, CPU of one core", `${ours.toFixed(1)} %`, verdict(ours, "≤ 50 %"));
  row("  the simulator's", `${theirs.toFixed(1)} %`);
  const [resident, simulated] = [await residentMegabytes(server.pid), await residentMegabytes(simulator)];
  row("resident", `${resident.toFixed(0)} MB`, verdict(resident, "≤ 1000 MB"));
  row("  at most", `${(await residentMegabytes(server.pid, "VmHWM")).toFixed(0)} MB`);
  row("  the simulator's", `${simulated.toFixed(0)} MB`);
}

async function measureEvents(server: ServerProcess, hosts: readonly HostUri[]): Promise<void> {
  await using storm = await GuestStorm.open(hosts.slice(0, 100));
  for (const [perSecond, seconds] of [
    [500, 20],
    [5000, 60],
  ] as const) {
    using watch = await watchVms(server);
    const made = await storm.run(perSecond, seconds);
    const { delaysMs, lost } = await watch.compare(storm);
    const at = (share: number): number => delaysMs[Math.floor(delaysMs.length * share)] ?? Number.NaN;
    const p99 = perSecond === 500 ? verdict(at(0.99), "≤ 250 ms") : "";
    const title = `${made.toFixed(0)} changes/s on hosts (${perSecond} asked), ${seconds} s: to the watch`;
    printRow([title, "", `${at(0.5).toFixed(0)} ms`, `${at(0.99).toFixed(0)} ms`, "", p99], widths);
    row("  VMs whose last state did not come through", String(lost), verdict(lost, "≤ 0"));
  }
}

function row(title: string, value: string, wanted = ""): void {
  printRow([title, "", value, "", "", wanted], widths);
}

const folder = await mkdtemp(path.join(tmpdir(), "inn-bench-"));
const { child, hosts } = await startFleet(path.join(folder, "sim"));
try {
  const state = path.join(folder, "state");
  const simulator = child.pid ?? 0;
  let token = "";
  printRow([`${hostCount} hosts, ${vmCount} VMs`, "mean", "median", "p99", "CPU each", "wanted"], widths);
  {
    await using server = await startServer(state);
    await server.login(server.firstPassword ?? "");
    ({ token } = server);
    const addMs = await timed(async () => {
      await addHosts(server, hosts);
      await untilKnown(server);
    });
    row("adding all hosts", `${(addMs / 1000).toFixed(0)} s`);
    await server.end("SIGTERM");
  }
  const startMs = performance.now();
  await using server = await startServer(state);
  server.token = token;
  await count(server, "vms", "");
  const readyMs = performance.now() - startMs;
  row("start until it answers", `${readyMs.toFixed(0)} ms`, verdict(readyMs, "≤ 10000 ms"));
  await untilKnown(server);
  row("  until all hosts are connected", `${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  await measurePolling(server, simulator);
  await measureAnswers(server, Math.min(20_000, vmCount), "polling");
  await measureEvents(server, hosts);
} finally {
  child.kill("SIGINT");
  await rm(folder, { recursive: true });
}

/**
 * A fleet of simulated hosts, managed by a control plane:
 *   node bench/scale.ts [hosts] [VMs on each] [--save]
 * The simulator is a process of its own, whose costs are told apart. Adds all hosts, starts the control plane again, and
 * measures start, memory, polling, answers, and how soon and how surely changes on hosts come through to a watch. With
 * --save the figures go to bench/scale.json, of which bench/scale-chart.ts makes the chart of docs/scale.md.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { setTimeout as delay } from "node:timers/promises";
import type { ServerProcess } from "@innkeeper/server/app/test-support/server-process.ts";
import { tellFleet } from "@innkeeper/sim/fleet/control.ts";
import { columns, measureAnswers, quantile, widths } from "./answer.ts";
import { GuestStorm, watchVms } from "./guest-storm.ts";
import { startServer } from "./lab-server.ts";
import { cpuSeconds, printRow, residentMegabytes, timed, verdict } from "./measure.ts";
import { saveFigures, type ScaleFigures } from "./scale-figure.ts";

const { positionals, values: options } = parseArgs({ allowPositionals: true, options: { save: { type: "boolean" } } });
const hostCount = Number(positionals[0] ?? 2500);
const vmsPerHost = Number(positionals[1] ?? 20);
const vmCount = hostCount * vmsPerHost;
const addedAtOnce = 48;
/** After a start everything is read once, a few hosts at a time; it is over when less CPU time is taken no longer. */
const settleSeconds = 15;
const settleMaxMs = 10 * 60_000;
const pollSeconds = 120;
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

/** CPU time of processes in percent of one core, over some time. */
async function cpuShare(pids: readonly number[], seconds: number): Promise<number[]> {
  const before = await Promise.all(pids.map(cpuSeconds));
  await delay(seconds * 1000);
  const after = await Promise.all(pids.map(cpuSeconds));
  return after.map((value, index) => ((value - (before[index] ?? 0)) * 100) / seconds);
}

async function untilSettled(server: ServerProcess): Promise<number> {
  const startMs = performance.now();
  let least = Number.POSITIVE_INFINITY;
  for (let same = 0; same < 3 && performance.now() - startMs < settleMaxMs;) {
    const [now = Number.NaN] = await cpuShare([server.pid], settleSeconds);
    same = now < least * 0.9 ? 0 : same + 1;
    least = Math.min(least, now);
  }
  return performance.now() - startMs;
}

async function measurePolling(server: ServerProcess, simulator: number): Promise<Partial<ScaleFigures>> {
  const settledMs = await untilSettled(server);
  row("  until everything is read again and it is calm", `${(settledMs / 1000).toFixed(0)} s`);
  const [pollPct = Number.NaN, theirs = Number.NaN] = await cpuShare([server.pid, simulator], pollSeconds);
  row("polling every 20 s, CPU of one core", `${pollPct.toFixed(1)} %`, verdict(pollPct, "≤ 50 %"));
  row("  the simulator's", `${theirs.toFixed(1)} %`);
  const residentMB = await residentMegabytes(server.pid);
  row("resident", `${residentMB.toFixed(0)} MB`, verdict(residentMB, "≤ 1000 MB"));
  row("  the simulator's", `${(await residentMegabytes(simulator)).toFixed(0)} MB`);
  return { pollPct, residentMB };
}

async function measureEvents(
  server: ServerProcess,
  hosts: readonly HostUri[],
  simulator: number,
): Promise<Partial<ScaleFigures>> {
  await using storm = await GuestStorm.open(hosts.slice(0, 100));
  const measure = async (perSecond: number, seconds: number): Promise<{ p99: number; lost: number }> => {
    using _watch = await watchVms(server, storm);
    const cpuBefore = await Promise.all([server.pid, simulator].map(cpuSeconds));
    const ownBefore = process.cpuUsage();
    storm.delaysMs = [];
    const startMs = performance.now();
    const made = await storm.run(perSecond, seconds);
    const lost = await storm.lost();
    const tookSeconds = (performance.now() - startMs) / 1000;
    const cpu = await Promise.all([server.pid, simulator].map(cpuSeconds));
    const own = process.cpuUsage(ownBefore);
    const sorted = storm.delaysMs.toSorted((a, b) => a - b);
    const [mean, p50, p99] = [
      sorted.reduce((sum, each) => sum + each, 0) / sorted.length,
      quantile(sorted, 0.5),
      quantile(sorted, 0.99),
    ];
    const cells = [mean, p50, p99].map((ms) => `${ms.toFixed(0)} ms`);
    const wanted = perSecond === 500 ? `p99 ${verdict(p99, "≤ 250 ms")}` : "";
    printRow([`${made.toFixed(0)} changes/s on hosts, to the watch`, ...cells, "", "", wanted], widths);
    const share = (seconds_: number): string => `${((seconds_ * 100) / tookSeconds).toFixed(0)} %`;
    const [ours, theirs] = cpu.map((value, index) => share(value - (cpuBefore[index] ?? 0)));
    row("  CPU of one core: server", ours ?? "");
    row("  the simulator's, and who changes and watches", `${theirs} ${share((own.user + own.system) / 1e6)}`);
    row("  VMs whose last state did not come through", String(lost), verdict(lost, "≤ 0"));
    return { p99, lost };
  };
  const { p99: eventMs } = await measure(500, 20);
  const { lost: lostChanges } = await measure(5000, 60);
  return { eventMs, lostChanges };
}

function row(title: string, value: string, wanted = ""): void {
  printRow([title, "", value, "", "", "", wanted], widths);
}

const folder = await mkdtemp(path.join(tmpdir(), "inn-bench-"));
const { child, hosts } = await startFleet(path.join(folder, "sim"));
try {
  const state = path.join(folder, "state");
  const simulator = child.pid ?? 0;
  let token = "";
  let addSeconds = Number.NaN;
  printRow([`${hostCount} hosts, ${vmCount} VMs`, ...columns], widths);
  {
    await using server = await startServer(state);
    await server.login(server.firstPassword ?? "");
    ({ token } = server);
    const addMs = await timed(async () => {
      await addHosts(server, hosts);
      await untilKnown(server);
    });
    addSeconds = addMs / 1000;
    row("adding all hosts", `${addSeconds.toFixed(0)} s`);
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
  const figures: ScaleFigures = {
    hosts: hostCount,
    vms: vmCount,
    addSeconds,
    readyMs,
    ...(await measurePolling(server, simulator)),
    ...(await measureAnswers(server, Math.min(20_000, vmCount), "polling")),
    ...(await measureEvents(server, hosts, simulator)),
  };
  const [resident, peak] = [await residentMegabytes(server.pid), await residentMegabytes(server.pid, "VmHWM")];
  row("resident after all that, and at most", `${resident.toFixed(0)} ${peak.toFixed(0)} MB`);
  if (options.save === true) await saveFigures({ ...figures, peakMB: peak });
} finally {
  child.kill("SIGINT");
  await rm(folder, { recursive: true });
}

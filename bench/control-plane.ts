/**
 * What the control plane itself costs, with 2 lab hosts and 20 running VMs:
 *   node bench/control-plane.ts [rounds]
 * Start until it answers (medians of starts on the same state, hosts connected or not yet), resident memory, and CPU time
 * while nothing happens; then `inn demo` as users run it, and what its control plane has resident when it has ended.
 * Needs root and what `inn lab` needs.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { ServerProcess } from "@innkeeper/server/app/test-support/server-process.ts";
import { addLabHosts, startServer } from "./lab-server.ts";
import { cpuSeconds, median, printRow, residentMegabytes, timed, verdict } from "./measure.ts";

const rounds = Number(process.argv[2] ?? 5);
const vmsPerHost = 10;
const idleSeconds = 60;
const demoTimeoutMs = 600_000;

async function startVms(lab: Lab): Promise<void> {
  for (const host of lab.hosts) {
    for (let index = 0; index < vmsPerHost; index++) {
      const xml = `<domain type="qemu"><name>${host.name}-${index}</name><memory unit="MiB">64</memory><vcpu>1</vcpu>
        <os><type machine="q35">hvm</type></os><devices><serial type="pty"/></devices></domain>`;
      const file = path.join(lab.sharedFolder, "domain.xml");
      await writeFile(file, xml);
      await host.exec(["virsh", "--quiet", "create", file]);
    }
  }
}

async function untilKnown(server: ServerProcess, count: number): Promise<void> {
  const deadlineMs = performance.now() + 60_000;
  for (;;) {
    const { items } = await server.call<{ items: unknown[] }>("GET", "/vms?filter=state%3Drunning");
    if (items.length === count) return;
    if (performance.now() > deadlineMs) throw new Error(`${items.length} of ${count} VMs are known`);
    await delay(200);
  }
}

/** The demo from its first step to its last, on a folder and a lab of its own; it is removed again. */
async function residentAfterDemo(folder: string): Promise<number> {
  const launcher = path.resolve(import.meta.dirname, "../inn");
  const env = { ...process.env, INNKEEPER_DEMO_FOLDER: folder, INNKEEPER_DEMO_LAB: `bench-demo-${process.pid}` };
  const inn = (...argv: string[]) => promisify(execFile)(launcher, argv, { env, timeout: demoTimeoutMs });
  try {
    await inn("demo");
    const { pid } = JSON.parse(await readFile(path.join(folder, "server.json"), "utf8")) as { pid: number };
    return await residentMegabytes(pid);
  } finally {
    await inn("demo", "--down");
  }
}

const folder = await mkdtemp(path.join(tmpdir(), "inn-bench-"));
const starts: number[] = [];
const resident: number[] = [];
const idlePct: number[] = [];
const afterDemo: number[] = [];
try {
  await using lab = await Lab.up({ name: `bench-${process.pid}`, hostCount: 2 });
  let token = "";
  {
    await using server = await startServer(folder);
    await server.login(server.firstPassword ?? "");
    ({ token } = server);
    await addLabHosts(server, lab.hosts, lab.clientTls);
    await startVms(lab);
    await untilKnown(server, lab.hosts.length * vmsPerHost);
  }
  for (let round = 0; round < rounds; round++) {
    let server: ServerProcess | undefined;
    starts.push(await timed(async () => (server = await startServer(folder))));
    if (server === undefined) throw new Error("it did not start");
    server.token = token;
    await untilKnown(server, lab.hosts.length * vmsPerHost);
    const before = await cpuSeconds(server.pid);
    await delay(idleSeconds * 1000);
    idlePct.push(((await cpuSeconds(server.pid)) - before) * (100 / idleSeconds));
    resident.push(await residentMegabytes(server.pid));
    await server.end("SIGTERM");
  }
} finally {
  await rm(folder, { recursive: true });
}
for (let round = 0; round < rounds; round++) afterDemo.push(await residentAfterDemo(folder));
const widths = [48, 12, 18];
const row = (text: string, values: readonly number[], digits: number, unit: string, wanted: string): void =>
  printRow([text, `${median(values).toFixed(digits)} ${unit}`, verdict(median(values), wanted)], widths);
printRow([`medians of ${rounds} starts, 2 hosts, 20 VMs`, "", "wanted"], widths);
row("process start to API ready", starts, 0, "ms", "≤ 1000 ms");
row(`CPU while idle, over ${idleSeconds} s`, idlePct, 2, "%", "≤ 1 %");
row("resident after that", resident, 0, "MB", "≤ 160 MB");
row("resident after `inn demo`", afterDemo, 0, "MB", "≤ 160 MB");

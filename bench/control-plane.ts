/**
 * What the control plane itself costs, with 2 lab hosts and 20 running VMs:
 *   node bench/control-plane.ts [rounds]
 * Start until it answers (medians of starts on the same state, hosts connected or not yet), resident memory, and CPU time
 * while nothing happens. Needs root and what `inn lab` needs.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { ServerProcess } from "@innkeeper/server/app/test-support/server-process.ts";
import { addLabHosts, startServer } from "./lab-server.ts";
import { cpuSeconds, median, printRow, residentMegabytes, timed, verdict } from "./measure.ts";

const rounds = Number(process.argv[2] ?? 5);
const vmsPerHost = 10;
const idleSeconds = 60;
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

const folder = await mkdtemp(path.join(tmpdir(), "inn-bench-"));
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
  const starts: number[] = [];
  const resident: number[] = [];
  const idlePct: number[] = [];
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
  const widths = [48, 12, 18];
  const row = (text: string, values: readonly number[], digits: number, unit: string, wanted: string): void =>
    printRow([text, `${median(values).toFixed(digits)} ${unit}`, verdict(median(values), wanted)], widths);
  printRow([`medians of ${rounds} starts, 2 hosts, 20 VMs`, "", "wanted"], widths);
  row("process start to API ready", starts, 0, "ms", "≤ 1000 ms");
  row(`CPU while idle, over ${idleSeconds} s`, idlePct, 2, "%", "≤ 1 %");
  row("resident after that", resident, 0, "MB", "≤ 160 MB");
} finally {
  await rm(folder, { recursive: true });
}

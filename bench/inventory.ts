/**
 * What a large inventory costs, without hosts:
 *   node bench/inventory.ts [hosts] [vms]
 * Start on a stored fleet until the API answers, resident memory, and answers to lists and single VMs at fixed rates, idle and
 * while VMs change. A request's time runs from when it was due, so that a stall counts for all that waited (no coordinated
 * omission). Needs no rights.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { Agent, get } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { openState } from "@innkeeper/server/app/state/open.ts";
import { storeFleet } from "./fleet.ts";
import { cpuSeconds, median, printRow, residentMegabytes, timed, verdict } from "./measure.ts";

const hosts = Number(process.argv[2] ?? 2500);
const vms = Number(process.argv[3] ?? 50_000);
const password = "correct horse battery staple";
const starts = 3;
const seconds = 20;
const churnPerSecond = 500;
const listed = Math.min(20_000, vms);
const widths = [64, 10, 10, 10, 10, 22];

interface Server extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly token: string;
  churn(perSecond: number): void;
}

async function startServer(folder: string): Promise<Server> {
  const script = path.join(import.meta.dirname, "inventory-server.ts");
  const child = spawn(process.execPath, [script, folder, password], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const [url] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    exited.then(() => Promise.reject(new Error("the server ended"))),
  ])) as [string];
  const login = await fetch(`${url}/api/v1/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: "admin", password }),
  });
  const { secret } = (await login.json()) as { secret: string };
  return {
    url,
    pid: child.pid ?? 0,
    token: secret,
    churn: (perSecond) => void child.stdin.write(`churn ${perSecond}\n`),
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

const agent = new Agent({ keepAlive: true });

async function request(server: Server, where: string): Promise<number> {
  const { url, token } = server;
  const headers = { authorization: `Bearer ${token}`, "accept-encoding": "zstd, gzip" };
  return await new Promise((resolve, reject) => {
    const asked = get(`${url}/api/v1${where}`, { headers, agent }, (response) => {
      let size = 0;
      response.on("data", (chunk: Buffer) => (size += chunk.length));
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve(size);
        else reject(new Error(`${where}: ${response.statusCode}`));
      });
    }).on("error", (error: NodeJS.ErrnoException) => {
      // The server closed it for having been idle: https://nodejs.org/api/http.html#requestreusedsocket
      if (asked.reusedSocket && error.code === "ECONNRESET") resolve(request(server, where));
      else reject(error);
    });
  });
}

interface Answers {
  /** Milliseconds of each request, in order of size. */
  readonly times: readonly number[];
  /** Of the server's CPU time: what counts where other programs have the CPU meanwhile. */
  readonly cpuMs: number;
}

async function atRate(server: Server, perSecond: number, where: (index: number) => string): Promise<Answers> {
  const cpuBefore = await cpuSeconds(server.pid);
  const times: Promise<number>[] = [];
  const startMs = performance.now();
  for (let index = 0; index < perSecond * seconds; index++) {
    const dueMs = startMs + (index * 1000) / perSecond;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await delay(waitMs);
    times.push(request(server, where(index)).then(() => performance.now() - dueMs));
  }
  const sorted = (await Promise.all(times)).toSorted((a, b) => a - b);
  return { times: sorted, cpuMs: (((await cpuSeconds(server.pid)) - cpuBefore) * 1000) / sorted.length };
}

const filters = [
  "",
  "state=running",
  "state=running and memoryMiB>=4096 and tag:prod",
  "not tag:dev and cpuCount>2",
  "ticket",
  "host.tag=rack3 and state=shutoff",
  "tag:pci or state=paused",
];
const sorts = ["name", "-memoryMiB,name", "state", "host.name,name"];

function pageQuery(index: number): string {
  // One in ten is a search that nobody made before.
  const filter = index % 10 === 0 ? `name~"${1000 + index}"` : filters[index % filters.length];
  return `/vms?filter=${encodeURIComponent(filter ?? "")}&sort=${sorts[index % sorts.length]}&limit=100`;
}

function print(title: string, { times, cpuMs }: Answers, which: "mean" | "p99", wanted: string): void {
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? Number.NaN;
  const mean = times.reduce((sum, each) => sum + each, 0) / times.length;
  const is = verdict(which === "mean" ? mean : at(0.99), wanted);
  const cells = [mean, at(0.5), at(0.99)].map((ms) => `${ms.toFixed(1)} ms`);
  printRow([title, ...cells, `${cpuMs.toFixed(2)} ms`, `${which} ${is}`], widths);
}

async function measureAnswers(server: Server, when: string): Promise<void> {
  // What was never asked for is sorted and searched for the first time.
  for (let index = 0; index < 100; index++) await request(server, pageQuery(index));
  print(`page of 100 VMs, filter and sort, 100/s, ${when}`, await atRate(server, 100, pageQuery), "p99", "≤ 20 ms");
  const list = `/vms?limit=${listed}&fields=name,state,hostId`;
  print(
    `list of ${listed} VMs, 3 fields, zstd, 30/s, ${when}`,
    await atRate(server, 30, () => list),
    "mean",
    "≤ 250 ms",
  );
  const ids = (await (
    await fetch(`${server.url}/api/v1/vms?limit=1000&fields=id`, {
      headers: { authorization: `Bearer ${server.token}` },
    })
  ).json()) as { items: { id: string }[] };
  const one = (index: number): string => `/vms/${ids.items[index % ids.items.length]?.id}`;
  print(`one VM, 100/s, ${when}`, await atRate(server, 100, one), "p99", "≤ 5 ms");
}

const folder = await mkdtemp(path.join(tmpdir(), "inn-bench-"));
try {
  const storeMs = await timed(async () => {
    await using state = await openState(folder);
    await storeFleet(state.store, { hosts, vms, events: 20_000, tasks: 5000 });
  });
  const sizeMiB = (await stat(path.join(folder, "store.sqlite"))).size / 2 ** 20;
  console.log(
    `${hosts} hosts, ${vms} VMs: store of ${sizeMiB.toFixed(0)} MiB, made in ${(storeMs / 1000).toFixed(0)} s`,
  );
  const readyMs: number[] = [];
  for (let index = 1; index < starts; index++) {
    readyMs.push(await timed(async () => (await startServer(folder))[Symbol.asyncDispose]()));
  }
  let started: Server | undefined;
  readyMs.push(await timed(async () => (started = await startServer(folder))));
  if (started === undefined) throw new Error("it did not start");
  await using server = started;
  printRow(["", "mean", "median", "p99", "CPU each", "wanted"], widths);
  const ready = verdict(median(readyMs), "≤ 10000 ms");
  printRow(["start until it answers", "", `${median(readyMs).toFixed(0)} ms`, "", "", ready], widths);
  const resident = async (title: string): Promise<void> => {
    const [now, peak] = [await residentMegabytes(server.pid), await residentMegabytes(server.pid, "VmHWM")];
    printRow([`resident ${title}, and at most`, "", `${now.toFixed(0)} MB`, `${peak.toFixed(0)} MB`, "", ""], widths);
  };
  await resident("after the start");
  await measureAnswers(server, "idle");
  server.churn(churnPerSecond);
  await measureAnswers(server, `${churnPerSecond} changes/s`);
  server.churn(0);
  await resident("after that");
} finally {
  await rm(folder, { recursive: true });
}

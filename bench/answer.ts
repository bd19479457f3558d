/**
 * Answers of a control plane that runs, at fixed rates: pages, whole lists, single VMs. A request's time runs from when it
 * was due, so that a stall counts for all that waited (no coordinated omission).
 */
import { Agent, get } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { cpuSeconds, printRow, verdict } from "./measure.ts";

const seconds = 20;
/** Of the table. */
export const widths = [64, 10, 10, 10, 10, 11, 23];
/** CPU time of each answer: the server's, and that of who asks. */
export const columns = ["mean", "median", "p99", "CPU each", "client's", "wanted"];

export interface Answering {
  readonly url: string;
  readonly pid: number;
  readonly token: string;
}

const agent = new Agent({ keepAlive: true });

async function request(server: Answering, where: string): Promise<number> {
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
  readonly clientCpuMs: number;
}

async function atRate(server: Answering, perSecond: number, where: (index: number) => string): Promise<Answers> {
  const cpuBefore = await cpuSeconds(server.pid);
  const ownBefore = process.cpuUsage();
  const times: Promise<number>[] = [];
  const startMs = performance.now();
  for (let index = 0; index < perSecond * seconds; index++) {
    const dueMs = startMs + (index * 1000) / perSecond;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await delay(waitMs);
    times.push(request(server, where(index)).then(() => performance.now() - dueMs));
  }
  const sorted = (await Promise.all(times)).toSorted((a, b) => a - b);
  const cpuMs = (((await cpuSeconds(server.pid)) - cpuBefore) * 1000) / sorted.length;
  const own = process.cpuUsage(ownBefore);
  return { times: sorted, cpuMs, clientCpuMs: (own.user + own.system) / 1000 / sorted.length };
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

/** Prints a row; returns what is wanted of it. */
function print(title: string, answers: Answers, which: "mean" | "p99", wanted: string): number {
  const { times, cpuMs, clientCpuMs } = answers;
  const mean = times.reduce((sum, each) => sum + each, 0) / times.length;
  const p99 = quantile(times, 0.99);
  const value = which === "mean" ? mean : p99;
  const cells = [mean, quantile(times, 0.5), p99].map((ms) => `${ms.toFixed(1)} ms`);
  const cpu = [cpuMs, clientCpuMs].map((ms) => `${ms.toFixed(2)} ms`);
  printRow([title, ...cells, ...cpu, `${which} ${verdict(value, wanted)}`], widths);
  return value;
}

/** Of values in order of size. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

/** Milliseconds: of pages and of one VM the 99th percentile, of whole lists the mean. */
interface AnswerFigures {
  readonly pageMs: number;
  readonly listMs: number;
  readonly oneMs: number;
}

/** Prints a row for each; `listed`: how many VMs the whole list has. */
export async function measureAnswers(server: Answering, listed: number, when: string): Promise<AnswerFigures> {
  // What was never asked for is sorted and searched for the first time.
  for (let index = 0; index < 100; index++) await request(server, pageQuery(index));
  const pages = await atRate(server, 100, pageQuery);
  const pageMs = print(`page of 100 VMs, filter and sort, 100/s, ${when}`, pages, "p99", "≤ 20 ms");
  const list = `/vms?limit=${listed}&fields=name,state,hostId`;
  const lists = await atRate(server, 30, () => list);
  const listMs = print(`list of ${listed} VMs, 3 fields, zstd, 30/s, ${when}`, lists, "mean", "≤ 250 ms");
  const ids = (await (
    await fetch(`${server.url}/api/v1/vms?limit=1000&fields=id`, {
      headers: { authorization: `Bearer ${server.token}` },
    })
  ).json()) as { items: { id: string }[] };
  const one = (index: number): string => `/vms/${ids.items[index % ids.items.length]?.id}`;
  const oneMs = print(`one VM, 100/s, ${when}`, await atRate(server, 100, one), "p99", "≤ 5 ms");
  return { pageMs, listMs, oneMs };
}

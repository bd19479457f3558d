/**
 * What a large inventory costs, without hosts:
 *   node bench/inventory.ts [hosts] [vms]
 * Start on a stored fleet until the API answers, resident memory, and answers to lists and single VMs at fixed rates, idle and
 * while VMs change. Needs no rights.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { openState } from "@innkeeper/server/app/state/open.ts";
import { measureAnswers, widths } from "./answer.ts";
import { storeFleet } from "./fleet.ts";
import { median, printRow, residentMegabytes, timed, verdict } from "./measure.ts";

const hosts = Number(process.argv[2] ?? 2500);
const vms = Number(process.argv[3] ?? 50_000);
const password = "correct horse battery staple";
const starts = 3;
const churnPerSecond = 500;
const listed = Math.min(20_000, vms);

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
  await measureAnswers(server, listed, "idle");
  server.churn(churnPerSecond);
  await measureAnswers(server, listed, `${churnPerSecond} changes/s`);
  server.churn(0);
  await resident("after that");
} finally {
  await rm(folder, { recursive: true });
}

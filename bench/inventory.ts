/**
 * What a large inventory costs, without hosts:
 *   node bench/inventory.ts [hosts] [vms]
 * Start on a stored fleet until the API answers, resident memory, and answers to lists and single VMs at fixed rates, idle and
 * while VMs change. Needs no rights.
 */
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { columns, measureAnswers, widths } from "./answer.ts";
import { type InventoryServer, startInventoryServer, storeNewFleet } from "./inventory-process.ts";
import { median, printRow, residentMegabytes, timed, verdict } from "./measure.ts";

const hosts = Number(process.argv[2] ?? 2500);
const vms = Number(process.argv[3] ?? 50_000);
const starts = 3;
const churnPerSecond = 500;
const listed = Math.min(20_000, vms);

const folder = await mkdtemp(path.join(tmpdir(), "inn-bench-"));
try {
  const storeMs = await timed(() => storeNewFleet(folder, hosts, vms));
  const sizeMiB = (await stat(path.join(folder, "store.sqlite"))).size / 2 ** 20;
  console.log(
    `${hosts} hosts, ${vms} VMs: store of ${sizeMiB.toFixed(0)} MiB, made in ${(storeMs / 1000).toFixed(0)} s`,
  );
  const readyMs: number[] = [];
  for (let index = 1; index < starts; index++) {
    readyMs.push(await timed(async () => (await startInventoryServer(folder))[Symbol.asyncDispose]()));
  }
  let started: InventoryServer | undefined;
  readyMs.push(await timed(async () => (started = await startInventoryServer(folder))));
  if (started === undefined) throw new Error("it did not start");
  await using server = started;
  printRow(["", ...columns], widths);
  const ready = verdict(median(readyMs), "≤ 10000 ms");
  printRow(["start until it answers", "", `${median(readyMs).toFixed(0)} ms`, "", "", "", ready], widths);
  const resident = async (title: string): Promise<void> => {
    const [now, peak] = [await residentMegabytes(server.pid), await residentMegabytes(server.pid, "VmHWM")];
    printRow(
      [`resident ${title}, and at most`, "", `${now.toFixed(0)} MB`, `${peak.toFixed(0)} MB`, "", "", ""],
      widths,
    );
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

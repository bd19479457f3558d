/**
 * The control plane of bench/inventory.ts: on a stored fleet, without connecting to its hosts. A line `churn N` on its
 * standard input changes the state of N VMs a second from then on; it ends when its standard input does.
 */
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { keepHeapSmall } from "@innkeeper/server/app/heap.ts";
import type { WireBase } from "@innkeeper/server/app/wiring.ts";

keepHeapSmall();
const { startServer } = await import("@innkeeper/server/app/server.ts");
const { testConfig } = await import("@innkeeper/server/app/test-support/test-config.ts");
const { wire } = await import("@innkeeper/server/app/wire.ts");

const [folder = "", adminPassword = ""] = process.argv.slice(2);
let base: WireBase | undefined;
const server = await startServer(testConfig(folder, { adminPassword, resetAdmin: true }), {
  wire: (given) => {
    base = given;
    return { ...wire(given), start: async () => {} };
  },
});
process.stdout.write(`${server.url}\n`);

const perTurn = 10;
/** Changes a second, until it is aborted. */
async function churn({ store, inventory }: WireBase, perSecond: number, signal: AbortSignal): Promise<void> {
  const ids = inventory.list("vm").map((vm) => vm.id);
  for (let next = 0; !signal.aborted; next += perTurn) {
    await store.transaction(async (transaction) => {
      for (let index = next; index < next + perTurn; index++) {
        const vm = inventory.get("vm", ids[(index * 7919) % ids.length] ?? "");
        if (vm === undefined) continue;
        await transaction.put("vm", { ...vm, state: vm.state === "running" ? "paused" : "running" });
      }
    });
    await delay((perTurn * 1000) / perSecond);
  }
}

let stop = new AbortController();
for await (const line of createInterface({ input: process.stdin })) {
  const perSecond = Number(/^churn (\d+)$/.exec(line)?.[1] ?? 0);
  stop.abort();
  stop = new AbortController();
  if (perSecond > 0 && base !== undefined) void churn(base, perSecond, stop.signal);
}
stop.abort();
await server.close();

// Prints what happens to domains, networks and pools until it is interrupted:
//   node example/watch-event.ts [qemu:///system]
import { connect } from "@innkeeper/libvirt";
import type { EventSubscription } from "@innkeeper/libvirt";

const controller = new AbortController();
process.once("SIGINT", () => controller.abort()).once("SIGTERM", () => controller.abort());
const { signal } = controller;

await using connection = await connect(process.argv[2] ?? "qemu:///system", { signal });
const { events } = connection;

async function print<T>(name: string, subscription: EventSubscription<T>): Promise<void> {
  for await (const event of subscription) console.log(new Date().toISOString(), name, event);
}

const domain = events.domain("lifecycle", { signal });
const job = events.domain("blockJob2", { signal });
const network = events.network("lifecycle", { signal });
const pool = events.storagePool("lifecycle", { signal });
await Promise.all([domain.ready, job.ready, network.ready, pool.ready]);
console.log(`watching ${connection.uri}`);
await Promise.all([
  print("domain lifecycle", domain),
  print("domain block job", job),
  print("network lifecycle", network),
  print("pool lifecycle", pool),
]);

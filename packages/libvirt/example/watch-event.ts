// Prints what happens to domains, networks and pools until it is interrupted:
//   node example/watch-event.ts [qemu:///system]
import { connect } from "@innkeeper/libvirt";
import type { EventSubscription } from "@innkeeper/libvirt";

const controller = new AbortController();
process.once("SIGINT", () => controller.abort()).once("SIGTERM", () => controller.abort());
const { signal } = controller;

await using connection = await connect(process.argv[2] ?? "qemu:///system", { signal });

async function print<T>(name: string, events: EventSubscription<T>): Promise<void> {
  await events.ready;
  for await (const event of events) console.log(new Date().toISOString(), name, event);
}

const { events } = connection;
const printers = [
  print("domain lifecycle", events.domain("lifecycle", { signal })),
  print("domain blockJob2", events.domain("blockJob2", { signal })),
  print("domain agentLifecycle", events.domain("agentLifecycle", { signal })),
  print("network lifecycle", events.network("lifecycle", { signal })),
  print("storage pool lifecycle", events.storagePool("lifecycle", { signal })),
];
console.log(`watching ${connection.uri}`);
await Promise.all(printers);

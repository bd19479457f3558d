// A simulated host with a client of its own, in one process: what tests of procedures begin with.
import { connect, type Connection } from "@innkeeper/libvirt";
import { VirtualClock } from "#host/clock.ts";
import { SimHost, type SimHostOptions } from "#host/sim-host.ts";
import { procedureTable } from "#procedure/table.ts";
import { SimDaemon } from "#rpc/daemon.ts";

export interface OpenHost extends AsyncDisposable {
  readonly connection: Connection;
  readonly host: SimHost;
  readonly clock: VirtualClock;
}

export async function openHost(options: Partial<SimHostOptions> = {}): Promise<OpenHost> {
  const clock = new VirtualClock();
  const host = new SimHost({ name: "h1", seed: 1, ...options, clock });
  const daemon = new SimDaemon(host, procedureTable);
  const connection = await connect("qemu:///system", { dial: () => daemon.dial() });
  return { connection, host, clock, [Symbol.asyncDispose]: () => connection.close() };
}

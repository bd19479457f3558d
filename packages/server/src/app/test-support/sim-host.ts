/** A simulated host that listens on a local socket, with the pool and the network that Debian's libvirt brings. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import { destroy } from "@innkeeper/sim/host/domain/lifecycle.ts";
import { STANDARD_NODE } from "@innkeeper/sim/host/node/shape.ts";
import { SimHost, type SimHostOptions } from "@innkeeper/sim/host/sim-host.ts";
import { procedureTable } from "@innkeeper/sim/procedure/table.ts";
import { SimDaemon } from "@innkeeper/sim/rpc/daemon.ts";

export interface ListeningSimHost extends AsyncDisposable {
  readonly host: SimHost;
  readonly daemon: SimDaemon;
  readonly uri: string;
  /** Of a VM, as by virsh destroy. */
  cutPower(name: string): void;
}

/** Then nobody looks into whether it works. */
export const withoutKvm: Partial<SimHostOptions> = { node: { ...STANDARD_NODE, hasKvm: false } };

const network = `<network><name>default</name><forward mode='nat'/><bridge name='virbr0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>`;
const pool = "<pool type='dir'><name>local</name><target><path>/var/lib/libvirt/images</path></target></pool>";

export async function listeningSimHost(options: Partial<SimHostOptions> = {}): Promise<ListeningSimHost> {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-sim-"));
  const host = new SimHost({ name: "h1", clock: new RealClock(), seed: 1, ...options });
  host.networks.start(host.networks.define(network));
  host.pools.start(host.pools.define(pool), true);
  const daemon = new SimDaemon(host, procedureTable);
  const server = createServer((socket) => void daemon.accept(socket.on("error", () => undefined)));
  const socket = path.join(folder, "libvirt-sock");
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(socket, resolve);
  await promise;
  return {
    host,
    daemon,
    uri: `qemu+unix:///system?socket=${socket}`,
    cutPower: (name) => destroy(host.domains, host.domains.byName(name)),
    [Symbol.asyncDispose]: async () => {
      daemon.drop();
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

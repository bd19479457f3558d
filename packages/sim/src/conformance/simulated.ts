// Two simulated hosts that reach each other, as the suite's scripts find them, and what the scripts called there.
import { join } from "node:path";
import { connect } from "@innkeeper/libvirt";
import type { Connection } from "@innkeeper/libvirt";
import { Wire } from "#fleet/wire.ts";
import { RealClock } from "#host/clock.ts";
import { newImage } from "#host/file/image.ts";
import { STANDARD_NODE } from "#host/node/shape.ts";
import { SimHost } from "#host/sim-host.ts";
import { procedureTable } from "#procedure/table.ts";
import { SimDaemon } from "#rpc/daemon.ts";
import type { Session } from "#rpc/session.ts";

export const DISK_BYTES = 67_108_864;
export const IMAGES = ["a.qcow2", "b.qcow2"];

class NotingDaemon extends SimDaemon {
  readonly called = new Set<string>();

  override admit(session: Session, procedure: string): void | Promise<void> {
    this.called.add(procedure);
    return super.admit(session, procedure);
  }
}

export interface Pair {
  readonly open: readonly [() => Promise<Connection>, () => Promise<Connection>];
  called(): ReadonlySet<string>;
}

/** As the machine of the tests: no KVM. */
export function simulatedPair(folder: string): Pair {
  const wire = new Wire();
  const daemonOf = (name: string, seed: number): NotingDaemon => {
    const node = { ...STANDARD_NODE, hasKvm: false };
    const peers = wire.peersOf(name, node.migrationMiBps * 1_048_576);
    const host = new SimHost({ name, clock: new RealClock(), seed, node, peers });
    wire.add(host);
    host.files.makeFolder(folder, { mode: 0o755, uid: 0, gid: 0 });
    for (const image of IMAGES)
      host.files.createImage(join(folder, image), { mode: 0o600, uid: 0, gid: 0 }, newImage("qcow2", DISK_BYTES));
    return new NotingDaemon(host, procedureTable);
  };
  const daemons = [daemonOf("sim", 1), daemonOf("sim2", 2)] as const;
  wire.listens(daemons[1].host, "127.0.0.1");
  return {
    open: [() => open(daemons[0]), () => open(daemons[1])],
    called: () => daemons[0].called.union(daemons[1].called),
  };
}

function open(daemon: SimDaemon): Promise<Connection> {
  return connect("qemu:///system", { dial: () => daemon.dial() });
}

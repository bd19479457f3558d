/** A simulated host under a control plane, a second client of the host as virsh is one, and a trap at the tasks' steps. */
import { type Connection, connect } from "@innkeeper/libvirt";
import type { SimHostOptions } from "@innkeeper/sim/host/sim-host.ts";
import { ControlPlane } from "./control-plane.ts";
import { type ListeningSimHost, listeningSimHost } from "./sim-host.ts";
import { StepTrap } from "./step-trap.ts";

export interface ManagedSimHost extends AsyncDisposable {
  readonly sim: ListeningSimHost;
  readonly plane: ControlPlane;
  readonly virsh: Connection;
  readonly trap: StepTrap;
}

/** The host is known as h1. */
export async function managedSimHost(options: Partial<SimHostOptions> = {}): Promise<ManagedSimHost> {
  const trap = new StepTrap();
  const sim = await listeningSimHost(options);
  const virsh = await connect(sim.uri);
  const plane = await ControlPlane.open({ onStepBoundary: trap.onStepBoundary });
  await plane.succeed("host.add", { request: { uri: sim.uri, name: "h1" } });
  return {
    sim,
    plane,
    virsh,
    trap,
    [Symbol.asyncDispose]: async () => {
      virsh.close();
      await plane[Symbol.asyncDispose]();
      await sim[Symbol.asyncDispose]();
    },
  };
}

/** What a scenario of the crash matrix says, and what most of them have. */
import type { Lab } from "@innkeeper/lab/lab.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Outcome, VmOutcome } from "./crash-outcome.ts";

export interface Scenario {
  readonly operation: string;
  readonly title: string;
  /** The steps that have something to do, unless all of them have. */
  readonly steps?: readonly string[];
  /** A step that takes long, and how far into it the control plane is killed besides. */
  readonly during?: { readonly step: string; readonly delayMs: number };
  /** Makes the situation and returns the operation's input. */
  prepare(plane: ControlPlane, lab: Lab): Promise<unknown>;
  /** What is there when it has succeeded. */
  readonly done: Outcome;
}

/** One VM of makeVm named subject, as it is unless told. */
export const subject = (state: VmOutcome["state"], change: Partial<VmOutcome> = {}): Outcome => ({
  vms: { subject: { host: "h1", state, layers: { vda: 2 }, ...change } },
});

/** Returns its id. */
export async function takeSnapshot(plane: ControlPlane, vmId: string, name: string, memory = false): Promise<string> {
  const input = { vmId, request: { name, memory } };
  return (await plane.succeed<{ snapshotId: string }>("snapshot.create", input)).snapshotId;
}

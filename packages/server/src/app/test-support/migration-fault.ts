/** A migration that is hit by a fault in one of its phases, and what must be true of it afterwards. */
import type { LabHost } from "@innkeeper/lab/host.ts";
import type { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Guest } from "#virtualization/port.ts";
import { labHypervisor, type LabHypervisor } from "#virtualization/driver/libvirt/test-support/lab-hypervisor.ts";
import type { ControlPlane } from "./control-plane.ts";

export const phases = ["begin", "prepare", "copy", "switch-over", "finish"] as const;
/** `begin`: the step has begun; `prepare`: the target makes ready; `copy`: memory is on the way; `switch-over`: the guest stands still; `finish`: it runs on the target. */
export type Phase = (typeof phases)[number];
export type Fault =
  | "source crashed"
  | "target crashed"
  | "source daemon killed"
  | "target daemon killed"
  /** And its guest was stopped meanwhile by what libvirt does not ask for: so it leaves it standing. */
  | "target daemon killed, guest stopped"
  | "hosts apart"
  | "source cut off"
  | "target cut off";

export interface Stage {
  readonly lab: Lab;
  readonly plane: ControlPlane;
}

export interface Moving {
  readonly source: LabHost;
  readonly target: LabHost;
  readonly task: Task;
  readonly vm: Vm;
}

const pollMs = 5;
const phaseMs = 60_000;
const attemptMax = 5;

/**
 * Moves a running VM to the other host, slowed for phases that need time to be hit, and acts at the phase. Resolves when
 * that is done, or when the migration is over: then the phase was missed, and `isHit` is false.
 */
async function moveOnce(
  { lab, plane }: Stage,
  vm: Vm,
  phase: Phase,
  act: (moving: Moving) => Promise<void>,
): Promise<Moving & { readonly isHit: boolean }> {
  const source = lab.host(plane.inventory.require("host", vm.hostId).name);
  const target = lab.host(source.name === "h1" ? "h2" : "h1");
  await using here = await labHypervisor(lab, lab.hosts.indexOf(source));
  await using there = await labHypervisor(lab, lab.hosts.indexOf(target));
  const deadline = AbortSignal.timeout(phaseMs);
  await Promise.all([here, there].map((end) => end.connection({ signal: deadline })));
  const bandwidthMiBps = ["begin", "prepare", "copy"].includes(phase) ? 1 : 64;
  const input = { vmId: vm.id, request: { host: target.name, copyDisks: true, bandwidthMiBps } };
  const task = await plane.engine.submit("vm.migrate", input, { userName: "tester" });
  const moving = { source, target, task, vm };
  const attempt = async () => {
    const now = plane.inventory.require("task", task.id);
    const step = now.steps.find(({ state }) => state === "running")?.name ?? "";
    const isHit = stepsOf(phase).includes(step) && (await isAt(phase, now, { here, there, vm }));
    if (isHit) await act(moving);
    return isHit || now.finishedAt !== undefined ? { ...moving, isHit } : undefined;
  };
  return await waitFor(`phase ${phase}`, attempt, { timeoutMs: phaseMs, intervalMs: pollMs });
}

/** Moves the VM, again and back if the phase was missed, until `act` was called at the phase. Throws when it never was. */
export async function moveTo(
  stage: Stage,
  name: string,
  phase: Phase,
  act: (moving: Moving) => Promise<void>,
): Promise<Moving> {
  for (let attempt = 1; attempt <= attemptMax; attempt++) {
    const { isHit, ...moving } = await moveOnce(stage, stage.plane.vm(name), phase, act);
    if (isHit) return moving;
    const { state, error } = stage.plane.inventory.require("task", moving.task.id);
    if (state !== "succeeded") throw new Error(`an undisturbed migration is ${state}: ${error?.detail}`);
  }
  throw new Error(`phase ${phase} was missed ${attemptMax} times`);
}

/** What the task is at: `finish` begins when libvirt is about to answer, and lasts until the source is cleaned. */
function stepsOf(phase: Phase): readonly string[] {
  return phase === "finish" ? ["move", "finish"] : ["move"];
}

interface Ends {
  readonly here: LabHypervisor;
  readonly there: LabHypervisor;
  readonly vm: Vm;
}

async function isAt(phase: Phase, task: Task, { here, there, vm }: Ends): Promise<boolean> {
  switch (phase) {
    case "begin":
      return true;
    case "prepare":
      return (await stateOn(there, vm)) !== undefined;
    case "copy":
      return task.progress.unit === "byte" && task.progress.done > 0;
    case "switch-over":
      return (await stateOn(here, vm)) === "paused";
    case "finish":
      return (await stateOn(there, vm)) === "running";
  }
}

async function stateOn({ guest }: LabHypervisor, { uuid }: Vm): Promise<Guest["state"] | undefined> {
  const signal = AbortSignal.timeout(phaseMs);
  return await guest.inventory.read(uuid, { signal }).then(
    ({ state }) => state,
    () => undefined,
  );
}

/** This machine's own address in the lab. */
function ownAddress(host: LabHost): string {
  return host.address.replace(/\d+$/, "1");
}

export async function strike(fault: Fault, { source, target, vm }: Moving): Promise<void> {
  switch (fault) {
    case "source crashed":
      return await source.crash();
    case "target crashed":
      return await target.crash();
    case "source daemon killed":
      return await source.killLibvirtd();
    case "target daemon killed":
      return await target.killLibvirtd();
    case "target daemon killed, guest stopped":
      await source.exec(["virsh", "-q", "qemu-monitor-command", vm.name, "--hmp", "stop"]);
      return await target.killLibvirtd();
    case "hosts apart":
      return await source.cutOff(target.address);
    case "source cut off":
      return await source.cutOff(ownAddress(source));
    case "target cut off":
      return await target.cutOff(ownAddress(target));
  }
}

export async function mend(fault: Fault, { source, target }: Moving): Promise<void> {
  switch (fault) {
    case "source crashed":
      return await source.start();
    case "target crashed":
      return await target.start();
    case "source daemon killed":
      return await source.startLibvirtd();
    case "target daemon killed":
    case "target daemon killed, guest stopped":
      return await target.startLibvirtd();
    case "hosts apart":
      return await source.rejoin(target.address);
    case "source cut off":
      return await source.rejoin(ownAddress(source));
    case "target cut off":
      return await target.rejoin(ownAddress(target));
  }
}

/** Which hosts have the guest, as virsh tells: `h1: running`. */
export async function copiesOf({ lab }: Stage, name: string): Promise<string[]> {
  const copies: string[] = [];
  for (const host of lab.hosts) {
    const { stdout } = await host.exec(["virsh", "-q", "list", "--all"]);
    for (const line of stdout.split("\n")) {
      const [, found, ...state] = line.trim().split(/\s+/);
      if (found === name) copies.push(`${host.name}: ${state.join(" ")}`);
    }
  }
  return copies;
}

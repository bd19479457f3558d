/**
 * One life of a control plane in the crash matrix: it takes up what the life before left, checks that nothing of it is
 * left half-done, makes the next situation, and is killed at the moment that the case names.
 * Argument: path of a JSON file, CrashRun.
 */
import { readFile, writeFile } from "node:fs/promises";
import assert from "node:assert/strict";
import path from "node:path";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { hasEnded } from "#management/task/engine.ts";
import type { StepBoundary } from "#management/task/step-runner.ts";
import { ControlPlane, type LabAccess } from "./control-plane.ts";
import { type CrashMoment, killAt } from "./crash-moment.ts";
import { assertOutcome } from "./crash-outcome.ts";
import { scenarios } from "./crash-scenario.ts";
import type { Scenario } from "./crash-situation.ts";
import { addImage } from "./lab-vm.ts";
import { type LabState, labState, orphans } from "./lab-state.ts";

export interface CrashCase extends CrashMoment {
  /** Of the scenario. */
  readonly title: string;
  /** So long after that moment. */
  readonly delayMs?: number;
}

export interface CrashRun {
  readonly labName: string;
  readonly folder: string;
  readonly access: LabAccess;
  readonly cases: readonly CrashCase[];
  readonly index: number;
}

interface Situation {
  readonly state: LabState;
  readonly taskCount: number;
}

const endMs = 180_000;
const [, , file = ""] = process.argv;
const run = JSON.parse(await readFile(file, "utf8")) as CrashRun;
const present = run.cases[run.index];
let armed: ((boundary: StepBoundary) => void) | undefined;

const lab = await Lab.open(run.labName);
await using plane = await ControlPlane.open({
  folder: run.folder,
  access: run.access,
  onStepBoundary: (at) => armed?.(at),
});
const before = run.cases[run.index - 1];
if (before !== undefined) await check(before);
await clear();
if (present !== undefined) await crash(present);

async function crash(next: CrashCase): Promise<void> {
  await addImage(lab, plane);
  const scenario = scenarioOf(next);
  const input = await scenario.prepare(plane, lab);
  const situation: Situation = {
    state: await labState(lab),
    taskCount: plane.inventory.list("task").length,
  };
  await writeFile(path.join(run.folder, "situation.json"), JSON.stringify(situation));
  armed = killAt(next, next.delayMs);
  const task = await plane.run(scenario.operation, input, endMs);
  // It was over before the moment came: then it is killed after its end.
  if (next.delayMs !== undefined) await plane.deps.clock.sleep(next.delayMs);
  assert.fail(`${name(next)} was never reached: the task is ${task.state}: ${task.error?.detail ?? ""}`);
}

async function check(last: CrashCase): Promise<void> {
  const text = await readFile(path.join(run.folder, "situation.json"), "utf8");
  const situation = JSON.parse(text) as Situation;
  const task = await taskOf(last);
  assert(hasEnded(task), `${name(last)}: the task is still ${task.state} at ${task.message}`);
  assert.equal(task.unfinished, undefined, `${name(last)}: ${task.error?.detail ?? ""}`);
  const state = await labState(lab);
  const stays = task.state === "succeeded" ? (scenarioOf(last).done.stays ?? []) : [];
  const left = await orphans(lab, state, plane.inventory, plane.store);
  const stayed = stays.map((each) => left.find((orphan) => each.test(orphan)));
  assert.deepEqual(
    stayed.toSorted(),
    left.toSorted(),
    `${name(last)}: left behind by a task that ${task.state}: ${task.error?.detail ?? ""}`,
  );
  if (task.state !== "succeeded") {
    const wanted = last.failAfter === undefined ? "succeeded" : "failed";
    assert.equal(task.state, wanted, `${name(last)}: ${task.error?.detail ?? ""}`);
    assert.deepEqual(state, situation.state, `${name(last)}: undone, but not as before: ${task.error?.detail ?? ""}`);
  } else {
    assert(last.failAfter === undefined, `${name(last)} must have been undone`);
    assert.deepEqual(state.objects, situation.state.objects, name(last));
    await assertOutcome(scenarioOf(last).done, plane, lab, `${name(last)}: succeeded, but is not done`);
  }
  for (const orphan of left) await removeFile(orphan);
  process.stdout.write(`${name(last)}: ${task.state}\n`);
}

/** As orphans() names it. */
async function removeFile(orphan: string): Promise<void> {
  const [, place = "", file = ""] = /^file (\w+):(.*)$/.exec(orphan) ?? [];
  await lab.host(place === "shared" ? "h1" : place).exec(["rm", file]);
}

async function taskOf(last: CrashCase): Promise<Task> {
  const { operation } = scenarioOf(last);
  const [newest] = plane.inventory
    .list("task")
    .filter((task) => task.operation === operation)
    .toSorted((a, b) => b.createdAt.localeCompare(a.createdAt));
  assert(newest !== undefined, `${name(last)}: the task is lost`);
  return plane.engine.wait(newest.id, endMs);
}

/** Also proves that what was left can be dealt with. */
async function clear(): Promise<void> {
  for (let round = 0; plane.inventory.list("vm").length > 0; round++) {
    assert(round < 5, "VMs can't be deleted");
    for (const vm of plane.inventory.list("vm")) {
      await plane.run("vm.delete", { vmId: vm.id, deleteDisks: true, force: true });
    }
  }
  const state = await labState(lab);
  assert.deepEqual(await orphans(lab, state, plane.inventory, plane.store), []);
}

function scenarioOf({ title }: CrashCase): Scenario {
  const scenario = scenarios.find((each) => each.title === title);
  assert(scenario !== undefined, title);
  return scenario;
}

function name({ title, step, phase, failAfter, delayMs }: CrashCase): string {
  const when = delayMs === undefined ? phase : `${delayMs} ms into`;
  return `${title}: killed ${when} ${step}${failAfter === undefined ? "" : ` (failed after ${failAfter})`}`;
}

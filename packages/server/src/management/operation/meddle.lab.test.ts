/**
 * Domains, volumes, pools and networks changed with virsh behind a task's back, right before any of its steps, for every
 * registered operation on VMs and snapshots: the task ends, as done or with a clear refusal, what it can't undo it names
 * and undoes on a retry, it leaves nothing over, and nothing of others is harmed; all on a clock that jumps. By default a part of the matrix, that
 * meets every operation and every meddling; all of it with INNKEEPER_MEDDLE=all, or of what has a given text in its title,
 * such as "vm.rename: paused before plan".
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { ControlPlane, labAccess } from "#app/test-support/control-plane.ts";
import { scenarios } from "#app/test-support/crash-scenario.ts";
import type { Scenario } from "#app/test-support/crash-situation.ts";
import { addImage } from "#app/test-support/lab-vm.ts";
import { labState, orphans } from "#app/test-support/lab-state.ts";
import {
  canaryFiles,
  canaryState,
  meddle,
  type Meddling,
  placeCanaries,
  sweep,
  vmMeddlings,
} from "#app/test-support/meddling.ts";
import { StepTrap } from "#app/test-support/step-trap.ts";
import { hasEnded } from "#management/task/engine.ts";
import { jumpingClock } from "#core/test-support/jumping-clock.ts";

const chosen = process.env["INNKEEPER_MEDDLE"];
const endMs = 120_000;
/** Of one operation by default: its first situation, and two of its steps. */
const partial = scenarios.filter(
  (scenario, index) => scenarios.findIndex(({ operation }) => operation === scenario.operation) === index,
);

const replacingSteps: ReadonlyMap<string, string> = new Map([
  ["vm.edit", "define"],
  ["vm.change", "change"],
  ["snapshot.revert", "define"],
]);

describe("virsh behind a task's back", () => {
  let lab: Lab;
  let plane: ControlPlane;
  let folder: string;
  let canaries: string;
  const trap = new StepTrap();

  before(async () => {
    await Lab.down("meddle");
    lab = await Lab.up({ name: "meddle", hostCount: 2 });
    folder = await mkdtemp(path.join(tmpdir(), "inn-meddle-"));
    await placeCanaries(lab);
    plane = await ControlPlane.open({
      folder,
      access: await labAccess(lab),
      // Nothing of all this depends on what time it is.
      clock: jumpingClock(),
      onStepBoundary: trap.onStepBoundary,
    });
    await addImage(lab, plane);
    canaries = await canaryState(lab);
  });

  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await lab?.down();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  for (const scenario of chosen === undefined ? partial : scenarios) {
    test(scenario.title, { timeout: 1_800_000 }, async (t) => {
      const faults: unknown[] = [];
      for (const { step, meddling } of casesOf(scenario)) {
        const what = `${meddling.title} before ${step}`;
        try {
          const { state, error } = await run(scenario, step, meddling);
          t.diagnostic(`${what}: ${state}${error === undefined ? "" : `: ${error.code}: ${error.detail}`}`);
        } catch (cause) {
          t.diagnostic(`${what}: not as it must be`);
          faults.push(new Error(`${scenario.title}: ${what}`, { cause }));
        }
      }
      if (faults.length > 0) throw new AggregateError(faults, `${faults.length} cases`);
    });
  }

  test("a disk that is written to while it is copied for a migration: the VM stays, and so does what was written", async () => {
    await clear();
    const scenario = scenarios.find(({ title }) => title === "vm.migrate, cold, with its disk");
    assert.ok(scenario !== undefined);
    const input = await scenario.prepare(plane, lab);
    const file = plane.vm("subject").spec.disks[0]?.source ?? "";
    // As by a guest that was started and stopped again.
    const write = ["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 64k", file];
    trap.set("move", async () => void (await lab.host("h1").exec(write)));
    const task = await plane.run(scenario.operation, input);
    assert.deepEqual([task.state, task.error?.code, task.unfinished], ["failed", "conflict", undefined]);
    assert.match(task.error?.detail ?? "", /vda was written to/);
    await checkWorld(new Set(), task.error?.detail ?? "");
    const { stdout } = await lab.host("h1").exec(["qemu-io", "-f", "qcow2", "-c", "read -P 7 1M 64k", file]);
    assert.doesNotMatch(stdout, /verification failed/);
    await plane.succeed(scenario.operation, input);
  });

  function casesOf(scenario: Scenario): { step: string; meddling: Meddling }[] {
    const steps = plane.wiring.operations.find(({ name }) => name === scenario.operation)?.steps ?? [];
    const names = steps.map(({ name }) => name).filter((name) => scenario.steps?.includes(name) ?? true);
    if (chosen !== undefined) {
      const all = names.flatMap((step) => vmMeddlings.map((meddling) => ({ step, meddling })));
      const isChosen = (what: string): boolean => chosen === "all" || `${scenario.title}: ${what}`.includes(chosen);
      return all.filter(({ step, meddling }) => isChosen(`${meddling.title} before ${step}`));
    }
    const first = partial.indexOf(scenario);
    const some = names.filter((_step, index) => (first + index) % 2 === 0);
    const cases = some.slice(0, 2).flatMap((step, index) => {
      const meddling = vmMeddlings[(first + index * 3) % vmMeddlings.length];
      return meddling === undefined ? [] : [{ step, meddling }];
    });
    // Where a definition is replaced as a whole, what virsh changed right before is always looked at.
    const define = replacingSteps.get(scenario.operation);
    const [titled] = vmMeddlings;
    if (define === undefined || titled === undefined) return cases;
    return [
      ...cases.filter(({ step, meddling }) => step !== define || meddling !== titled),
      { step: define, meddling: titled },
    ];
  }

  async function run(scenario: Scenario, step: string, meddling: Meddling): Promise<Task> {
    await clear();
    const input = await scenario.prepare(plane, lab);
    let byHand = new Set<string>();
    let orphaned: readonly string[] = [];
    let isTitled = false;
    trap.set(step, async () => {
      const { files, kept } = await labState(lab);
      if (meddling.title === "removed") orphaned = [...files, ...kept];
      await meddle(lab, meddling.script);
      byHand = await withBackingFiles(new Set((await labState(lab)).files).difference(new Set(files)));
      isTitled = await hasTitle();
    });
    const { id } = await plane.engine.submit(scenario.operation, input, { userName: "tester" });
    const task = await plane.engine.wait(id, endMs);
    assert.ok(hasEnded(task), `it is still ${task.state}: ${task.message}`);
    assert.equal(trap.isSet, false, "the moment never came");
    await meddle(lab, meddling.restore ?? "");
    await settle(task, meddling);
    // The disks of a VM that is taken away by hand are nobody's afterwards, and stay; what a failed task made does not,
    // unless it can't know whether they hold the VM's last data: it names them.
    const makes = task.state === "succeeded" ? undefined : productOf(scenario);
    const named = JSON.stringify(task.error?.fault?.["left"] ?? {});
    const isNamed = (file: string): boolean => meddling.title === "removed" && named.includes(path.basename(file));
    const excused = [
      ...orphaned.filter((file) => makes === undefined || !path.basename(file).startsWith(makes)),
      ...(await labState(lab)).files.filter(isNamed),
    ];
    const told = `left behind by a task that ${task.state}: ${task.error?.detail}`;
    await checkWorld(new Set([...excused, ...byHand]), told);
    const merges = ["snapshot.create", "snapshot.delete", "vm.clone"].includes(scenario.operation);
    if (merges && meddling.title !== "paused") await checkNonePaused();
    if (meddling.title !== "robbed of its disk") await checkChains();
    // A change by hand is not lost, also by a task that was refused, unless the operation brings an older configuration
    // back, or the domain to an end.
    const bringsBack = scenario.operation === "snapshot.revert";
    const mayForget = scenario.operation === "vm.delete" || (bringsBack && task.state === "succeeded");
    if (isTitled && !mayForget) assert.ok(await hasTitle(), "the change by hand is lost");
    return task;
  }

  /** A refusal is clear, and what is left half-done can be dealt with. */
  async function settle(task: Task, meddling: Meddling): Promise<void> {
    const told = `${task.error?.code}: ${task.error?.detail}`;
    if (task.state !== "succeeded") assert.ok(task.error?.detail !== undefined && task.error.code !== "internal", told);
    if (task.unfinished === undefined) return;
    const retry = await plane.engine.retry(task.id, "tester");
    const again = await plane.engine.wait(retry.id, endMs);
    // A layer that someone put on ours, or a disk that is gone, is for people to deal with; a VM that is gone needs nothing.
    const isForPeople =
      ["given another overlay", "robbed of its disk"].includes(meddling.title) ||
      (meddling.title === "removed" && again.error?.code === "not_found") ||
      // What was to be paused or reset is off: there is nothing to go on with.
      (meddling.title === "switched off or on" && again.error?.code === "invalid_state");
    if (again.state === "failed" && isForPeople) assert.notEqual(again.error?.code, "internal", told);
    else assert.equal(again.state, "succeeded", `${told}; the retry: ${again.error?.detail}`);
  }

  async function checkWorld(excused: ReadonlySet<string>, told: string): Promise<void> {
    for (const { id } of plane.inventory.list("host")) {
      await plane.deps.hostSync.syncHost(id, { signal: AbortSignal.timeout(60_000) });
    }
    const state = await labState(lab);
    const isCanary = (line: string): boolean => canaryFiles(lab).some((file) => line.endsWith(`:${file}`));
    const left = await orphans(
      lab,
      { ...state, files: state.files.filter((file) => !isCanary(file)) },
      plane.inventory,
      plane.store,
    );
    assert.deepEqual(
      left.filter((each) => !excused.has(each.replace("file ", ""))),
      [],
      told,
    );
    assert.equal(await canaryState(lab), canaries);
  }

  /** All layers of all domains are there. */
  async function checkChains(): Promise<void> {
    const look = `for d in $(virsh -q list --all --name); do
      for f in $(virsh -q domblklist $d | awk '$2 ~ "^/" { print $2 }'); do
        qemu-img info -U --backing-chain $f >/dev/null || echo "$d: $f"
      done; done`;
    const shown = await Promise.all(lab.hosts.map((host) => host.exec(["sh", "-c", look])));
    for (const { stdout, stderr } of shown) assert.equal(stdout, "", `a layer is gone: ${stderr}`);
  }

  /** What someone has put a layer on is theirs, too. */
  async function withBackingFiles(files: ReadonlySet<string>): Promise<Set<string>> {
    const all = new Set(files);
    for (const file of files) {
      const [host = "", name = ""] = file.split(":");
      const shown = await lab
        .host(host === "shared" ? "h1" : host)
        .exec(["qemu-img", "info", "-U", "--backing-chain", name]);
      for (const [, layer = ""] of shown.stdout.matchAll(/^image: (.+)$/gm)) all.add(`${host}:${layer}`);
    }
    return all;
  }

  /** A guest that was started paused for a merge has been stopped again. */
  async function checkNonePaused(): Promise<void> {
    const shown = await Promise.all(lab.hosts.map((host) => host.exec(["virsh", "-q", "list", "--state-paused"])));
    for (const { stdout } of shown) assert.equal(stdout.trim(), "", "left paused");
  }

  async function hasTitle(): Promise<boolean> {
    const look = "for d in $(virsh -q list --all --name); do virsh desc $d --config --title; done";
    const shown = await Promise.all(lab.hosts.map((host) => host.exec(["sh", "-c", look])));
    return shown.some(({ stdout }) => stdout.includes("meddled"));
  }

  async function clear(): Promise<void> {
    trap.clear();
    await sweep(lab);
    for (const { id } of plane.inventory.list("host")) {
      await plane.deps.hostSync.syncHost(id, { signal: AbortSignal.timeout(60_000) });
    }
    assert.deepEqual(new Set(plane.inventory.list("vm").map(({ name }) => name)), new Set(["canary"]));
  }
});

/** How the files begin that an operation makes for a new VM. */
function productOf({ operation }: Scenario): string | undefined {
  return operation === "vm.create" ? "subject" : operation === "vm.clone" ? "clone" : undefined;
}

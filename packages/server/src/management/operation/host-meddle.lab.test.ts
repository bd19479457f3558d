/**
 * Pools, networks and volumes removed, stopped, or made by someone else with virsh, right before each step of every
 * operation on hosts, storage and networks: the task ends, as done or with a clear refusal, what it can't undo it undoes on
 * a retry; it leaves nothing over; what someone else made, in the place of ours or beside it, is left alone; host and store
 * agree, on everything.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { ControlPlane, labAccess } from "#app/test-support/control-plane.ts";
import { type HostScenario, hostScenarios, type World } from "#app/test-support/host-scenario.ts";
import { beyond, nothing, undocumented } from "#app/test-support/lab-change.ts";
import { labState, type LabState } from "#app/test-support/lab-state.ts";
import { canaryState, hostMeddlings, meddle, type Meddling, placeCanaries, sweep } from "#app/test-support/meddling.ts";
import { StepTrap } from "#app/test-support/step-trap.ts";
import { hasEnded } from "#management/task/engine.ts";

const isWhole = process.env["INNKEEPER_MEDDLE"] === "all";
const endMs = 60_000;
/** What the meddling "made by someone else" makes: a network's bridge, a pool's file, a volume's content. */
const foreign: Readonly<Record<string, readonly [look: string, seen: string]>> = {
  network: ["virsh net-dumpxml cn", "virbr77"],
  pool: ["virsh pool-info cp", "running"],
  volume: ["cat /var/lib/libvirt/images/cv.raw", "precious"],
};

describe("virsh behind a task's back, on hosts", () => {
  let world: World;
  let folder: string;
  let plane: ControlPlane;
  let canaries: string;
  const trap = new StepTrap();

  before(async () => {
    await Lab.down("host-meddle");
    folder = mkdtempSync(path.join(tmpdir(), "inn-host-meddle-"));
    const lab = await Lab.up({ name: "host-meddle", hostCount: 2 });
    world = { lab, access: await labAccess(lab) };
    await placeCanaries(lab);
    canaries = await canaryState(lab);
    plane = await ControlPlane.open({ folder, onStepBoundary: trap.onStepBoundary });
    await plane.addHost(lab.host("h1").uri, world.access.tls, { name: "h1" });
  });

  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await world?.lab.down();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [index, scenario] of hostScenarios.entries()) {
    test(scenario.operation, async (t) => {
      const faults: unknown[] = [];
      for (const { step, meddling } of casesOf(scenario, index)) {
        const what = `${meddling.title} before ${step}`;
        try {
          const { state, error } = await run(scenario, step, meddling);
          t.diagnostic(`${what}: ${state}${error === undefined ? "" : `: ${error.code}: ${error.detail}`}`);
        } catch (cause) {
          faults.push(new Error(`${scenario.operation}: ${what}`, { cause }));
        }
      }
      if (faults.length > 0) throw new AggregateError(faults, `${faults.length} cases`);
    });
  }

  /** By default each step with one meddling, and what is made with all that are made by others. */
  function casesOf({ operation }: HostScenario, first: number): { step: string; meddling: Meddling }[] {
    const found = plane.wiring.operations.find(({ name }) => name === operation)?.steps ?? [];
    return found.flatMap(({ name: step }, index) =>
      hostMeddlings
        .filter(
          ({ title }, nth) =>
            isWhole ||
            nth === (first + index) % hostMeddlings.length ||
            (operation.endsWith(".create") && title === "made by someone else"),
        )
        .map((meddling) => ({ step, meddling })),
    );
  }

  async function run(scenario: HostScenario, step: string, meddling: Meddling): Promise<Task> {
    await clear();
    const input = await scenario.prepare(plane, world);
    const known: Partial<LabState>[] = [await labState(world.lab)];
    trap.set(step, async () => {
      // What the task made before, it takes back when it fails: that is not known.
      const before = await labState(world.lab);
      await meddle(world.lab, meddling.script);
      const after = await labState(world.lab);
      known.push(meddling.title === "made by someone else" ? after : beyond(after, [before]));
    });
    const { id } = await plane.engine.submit(scenario.operation, input, { userName: "tester" });
    const task = await plane.engine.wait(id, endMs);
    assert.ok(hasEnded(task), `it is still ${task.state}: ${task.message}`);
    assert.equal(trap.isSet, false, "the moment never came");
    await meddle(world.lab, meddling.restore ?? "");
    const told = `${task.error?.code}: ${task.error?.detail}`;
    if (task.state !== "succeeded") assert.ok(task.error?.detail !== undefined && task.error.code !== "internal", told);
    const end = task.unfinished === undefined ? task : await retried(task, told);
    const isDone = end.state === "succeeded" && end.result?.["undone"] === undefined;
    await checkForeign(scenario.operation, meddling);
    assert.equal(await canaryState(world.lab), canaries, "what others have is harmed");
    await refresh();
    const left = await labState(world.lab);
    if (isDone) known.push(scenario.change?.comes ?? {});
    assert.deepEqual(beyond(left, known), nothing, `left behind by a task that ${task.state}; ${told}`);
    assert.deepEqual(undocumented(world.lab, left, plane.inventory), [], `host and store disagree; ${told}`);
    const { onHost, stored } = await scenario.present(plane, world);
    assert.equal(stored, onHost, `host and store disagree; ${told}`);
    // Of what others made in the place of ours, which is gone, the name is there again.
    const isOthers = meddling.title === "made by someone else";
    const isOther = scenario.removes === true && isOthers;
    // What was changed and then taken away by hand shows nothing of it.
    const isGone = scenario.operation === "volume.resize" && (isOthers || meddling.title === "removed");
    if (isDone && !isOther && !isGone) assert.equal(onHost, scenario.removes !== true, "it succeeded, but is not done");
    return task;
  }

  /** What is left half-done can be dealt with. */
  async function retried(task: Task, told: string): Promise<Task> {
    const { id } = await plane.engine.retry(task.id, "tester");
    const again = await plane.engine.wait(id, endMs);
    // What is gone needs nothing more.
    const isDealtWith = again.state === "succeeded" || again.error?.code === "not_found";
    assert.ok(isDealtWith, `${told}; the retry: ${again.error?.detail}`);
    return again;
  }

  async function checkForeign(operation: string, { title }: Meddling): Promise<void> {
    const [noun = "", verb] = operation.split(".");
    const [look, seen] = foreign[noun] ?? [];
    // A volume has no identity but its name: who asks for its end means whatever has the name.
    const isByName = noun === "volume" && verb !== "create";
    if (title !== "made by someone else" || look === undefined || isByName || verb === "stop" || verb === "start")
      return;
    const { stdout } = await world.lab.host("h1").exec(["sh", "-c", look]);
    assert.ok(stdout.includes(seen ?? ""), `what someone else made is harmed: ${stdout}`);
  }

  async function refresh(): Promise<void> {
    for (const { id } of plane.inventory.list("host")) await plane.succeed("host.refresh", { hostId: id });
  }

  async function clear(): Promise<void> {
    trap.clear();
    for (const { id, name } of plane.inventory.list("host")) {
      if (name !== "h1") await plane.succeed("host.remove", { hostId: id });
    }
    await sweep(world.lab);
    await refresh();
    await plane.store.transaction(async (transaction) => {
      for (const image of await transaction.list("image")) await transaction.delete("image", image.id);
    });
  }
});

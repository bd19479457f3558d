/**
 * libvirtd killed in the midst of each operation on hosts, storage and networks, and started again: the task ends as done,
 * or as undone with everything as before; host and store agree, nothing is left over, and what was undone works the next
 * time. In each of their steps.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { ControlPlane, labAccess } from "#app/test-support/control-plane.ts";
import { killerOf } from "#app/test-support/daemon-killer.ts";
import { type HostScenario, hostScenarios, type World } from "#app/test-support/host-scenario.ts";
import { changed, undocumented } from "#app/test-support/lab-change.ts";
import { labState, type LabState } from "#app/test-support/lab-state.ts";
import { StepTrap } from "#app/test-support/step-trap.ts";
import { hasEnded } from "#management/task/engine.ts";

const endMs = 60_000;

describe("libvirtd killed in mid-call, on hosts", { timeout: 900_000 }, () => {
  let world: World;
  let folder: string;
  const trap = new StepTrap();

  before(async () => {
    await Lab.down("host-kill");
    folder = mkdtempSync(path.join(tmpdir(), "inn-host-kill-"));
    const lab = await Lab.up({ name: "host-kill", hostCount: 2 });
    world = { lab, access: await labAccess(lab) };
    await using plane = await ControlPlane.open({ folder });
    await plane.addHost(lab.host("h1").uri, world.access.tls, { name: "h1" });
  });

  after(async () => {
    await world?.lab.down();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const scenario of hostScenarios) {
    test(scenario.operation, async (t) => {
      for (const step of await stepsOf(scenario)) t.diagnostic(`in ${step}: ${await killIn(scenario, step)}`);
    });
  }

  async function stepsOf({ operation }: HostScenario): Promise<string[]> {
    await using plane = await ControlPlane.open({ folder });
    return plane.wiring.operations.find(({ name }) => name === operation)?.steps.map(({ name }) => name) ?? [];
  }

  async function killIn(scenario: HostScenario, step: string): Promise<string> {
    // One of its own each time: a host that is lost again and again is tried ever later.
    await using plane = await ControlPlane.open({ folder, onStepBoundary: trap.onStepBoundary });
    await plane.connected();
    const input = await scenario.prepare(plane, world);
    const situation = await labState(world.lab);
    // The host that is worked on: the second, where the scenario adds one.
    const host = world.lab.host(
      scenario.operation.startsWith("host.") && scenario.operation !== "host.refresh" ? "h2" : "h1",
    );
    const kill = await killerOf(host);
    const { promise: isGone, resolve: struck } = Promise.withResolvers<void>();
    // The step goes on meanwhile: its first calls are under way when the daemon dies.
    trap.set(step, () => void kill().then(struck));
    const { id } = await plane.engine.submit(scenario.operation, input, { userName: "tester" });
    await isGone;
    await host.startLibvirtd();
    const task = await plane.engine.wait(id, endMs);
    const told = `${task.state} ${task.error?.code ?? ""} ${task.error?.detail ?? ""}`;
    assert.ok(hasEnded(task), `it is still ${task.state}: ${task.message}`);
    assert.equal(trap.isSet, false, "the step never came");
    assert.equal(task.unfinished, undefined, told);
    await plane.connected();
    if (task.state !== "succeeded") {
      assert.match(task.error?.code ?? "", /^host_(unreachable|untrusted|refused)$/, told);
      await assertState(plane, scenario, { state: situation, isDone: false, told });
      await plane.succeed(scenario.operation, input);
    }
    const done = changed(situation, scenario.change ?? {});
    await assertState(plane, scenario, { state: done, isDone: true, told });
    await scenario.cleanUp(plane);
    return told;
  }

  async function assertState(
    plane: ControlPlane,
    scenario: HostScenario,
    { state, isDone, told }: { state: LabState; isDone: boolean; told: string },
  ): Promise<void> {
    assert.deepEqual(await labState(world.lab), state, told);
    // A host that is back is read without anybody's asking.
    if (scenario.operation === "host.refresh" && !isDone) return;
    const isThere = isDone !== (scenario.removes === true);
    assert.deepEqual(await scenario.present(plane, world), { onHost: isThere, stored: isThere }, told);
    const differing = () => undocumented(world.lab, state, plane.inventory);
    await plane.until(`documents as the hosts are (${told})`, () => differing().length === 0 || undefined);
  }
});

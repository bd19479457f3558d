/**
 * Each step of each operation on VMs and snapshots is really done, not passed over as needless, in at least one of the
 * situations of the crash matrix: what is killed around must be at work. Each is run once, to its end, on real hosts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { ControlPlane, labAccess } from "#app/test-support/control-plane.ts";
import { scenarios } from "#app/test-support/crash-scenario.ts";
import { addImage } from "#app/test-support/lab-vm.ts";
import { sweep } from "#app/test-support/meddling.ts";

test("each step of each operation is done in some situation", { timeout: 900_000 }, async (t) => {
  await using lab = await Lab.up({ name: `steps-${process.pid}`, hostCount: 2 });
  await using plane = await ControlPlane.open({ access: await labAccess(lab) });
  const done = new Set<string>();
  for (const { operation, title, prepare } of scenarios) {
    await addImage(lab, plane);
    const task = await plane.run(operation, await prepare(plane, lab), 180_000);
    assert.equal(task.state, "succeeded", `${title}: ${task.error?.detail ?? ""}`);
    // A step that is passed over as needless ends without having begun.
    const begun = task.steps
      .filter(({ startedAt }) => startedAt !== undefined)
      .map(({ name }) => `${operation} ${name}`);
    for (const step of begun) done.add(step);
    await sweep(lab);
    const call = { signal: AbortSignal.timeout(60_000) };
    for (const { id } of plane.inventory.list("host")) await plane.deps.hostSync.syncHost(id, call);
    assert.deepEqual(plane.inventory.list("vm"), [], title);
  }
  const run = new Set(scenarios.map(({ operation }) => operation));
  const steps = plane.wiring.operations
    .filter(({ name }) => run.has(name))
    .flatMap(({ name, steps }) => steps.map((step) => `${name} ${step.name}`));
  t.diagnostic(`${done.size} of ${steps.length} steps`);
  assert.deepEqual(
    steps.filter((step) => !done.has(step)),
    [],
  );
});

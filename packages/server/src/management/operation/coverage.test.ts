/**
 * No operation escapes the matrices: each that is registered has a situation in which it is killed and meddled with, and
 * whatever can be undone is reached by them.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { scenarios } from "#app/test-support/crash-scenario.ts";
import { ControlPlane } from "#app/test-support/control-plane.ts";
import { hostScenarios } from "#app/test-support/host-scenario.ts";

test("every registered operation has a scenario, and every scenario an operation", async () => {
  await using plane = await ControlPlane.open();
  const registered = new Set(plane.wiring.operations.map(({ name }) => name));
  const covered = new Set([...scenarios, ...hostScenarios].map(({ operation }) => operation));
  assert.ok(registered.size > 25, `${registered.size} operations`);
  assert.deepEqual(
    [...registered.difference(covered)],
    [],
    "add them to crash-scenario.ts, snapshot-scenario.ts or host-scenario.ts",
  );
  assert.deepEqual([...covered.difference(registered)], [], "there are no such operations");
});

test("nothing that can be undone comes after a point of no return", async () => {
  await using plane = await ControlPlane.open();
  const never = plane.wiring.operations.flatMap(({ name, steps }) => {
    const point = steps.findIndex((step) => step.pointOfNoReturn === true);
    const after = point === -1 ? [] : steps.slice(point + 1);
    return after.filter((step) => step.undo !== undefined).map((step) => `${name}: ${step.name}`);
  });
  assert.deepEqual(never, [], "these would never be undone");
});

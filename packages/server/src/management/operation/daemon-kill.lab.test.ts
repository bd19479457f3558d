/**
 * libvirtd killed in the midst of operations on VMs, in the situations of the crash matrix, and started again: the task
 * ends as done, with all that belongs to that, or as undone, with everything as before; nothing is left over, and what was
 * undone works the next time. A kill that came after the step's end is tried again, sooner. (Creation and full file systems: fault.lab.test.ts. Live migration: migration-fault.lab.test.ts.)
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test, type TestContext } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { ControlPlane, labAccess } from "#app/test-support/control-plane.ts";
import { assertOutcome } from "#app/test-support/crash-outcome.ts";
import { scenarios } from "#app/test-support/crash-scenario.ts";
import { killerOf } from "#app/test-support/daemon-killer.ts";
import { labState, orphans } from "#app/test-support/lab-state.ts";
import { addImage } from "#app/test-support/lab-vm.ts";
import { sweep } from "#app/test-support/meddling.ts";
import { StepTrap } from "#app/test-support/step-trap.ts";
import { hasEnded } from "#management/task/engine.ts";

const endMs = 120_000;

interface Case {
  /** Of the scenario. */
  readonly title: string;
  readonly step: string;
  /**
   * From the step's begin to the kill. Absent: the daemon is gone before the step calls it, as libvirt 9.0 keeps the lock
   * of a VM for good whose QEMU it had not yet forked.
   */
  readonly delayMs?: number | undefined;
}

const cases: readonly Case[] = [
  { title: "vm.clone, full, of a running VM", step: "disks", delayMs: 20 },
  { title: "vm.change of a running VM: disk and card added", step: "change", delayMs: 20 },
  { title: "vm.delete of a running VM with its disks and snapshots", step: "undefine" },
  { title: "vm.migrate, cold, with its disk", step: "content", delayMs: 5 },
  { title: "snapshot.create with memory", step: "freeze", delayMs: 60 },
  { title: "snapshot.revert with memory", step: "start" },
  { title: "snapshot.delete of a running VM's first of two", step: "merge", delayMs: 60 },
];

describe("libvirtd killed in mid-call", { timeout: 900_000 }, () => {
  let lab: Lab;
  let plane: ControlPlane;
  let folder: string;
  const trap = new StepTrap();
  /** Steps that have ended. */
  const over = new Set<string>();

  before(async () => {
    await Lab.down("kill");
    lab = await Lab.up({ name: "kill", hostCount: 2 });
    folder = await mkdtemp(path.join(tmpdir(), "inn-kill-"));
    plane = await ControlPlane.open({
      folder,
      access: await labAccess(lab),
      onStepBoundary: async (boundary) => {
        if (boundary.phase === "after") over.add(boundary.step);
        await trap.onStepBoundary(boundary);
      },
    });
    await addImage(lab, plane);
  });

  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await lab?.down();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  for (const { title, step, delayMs } of cases) {
    test(`${title}: in ${step}`, async (t) => {
      let waitMs = delayMs;
      while (!(await killIn(t, { title, step, delayMs: waitMs }))) {
        assert.ok(waitMs, "the step has ended before each kill");
        waitMs = Math.floor(waitMs / 2);
      }
    });
  }

  /** Whether the daemon died before the step's end. */
  async function killIn(t: TestContext, { title, step, delayMs }: Case): Promise<boolean> {
    const scenario = scenarios.find((each) => each.title === title);
    assert(scenario !== undefined, "there is no such scenario");
    const input = await scenario.prepare(plane, lab);
    const situation = await labState(lab);
    const h1 = lab.host("h1");
    const kill = await killerOf(h1);
    const isDown = (): boolean => plane.host("h1").connectionState !== "connected";
    const down = () => plane.until("a daemon that is gone", () => isDown() || undefined, endMs);
    over.clear();
    let isInside = true;
    const strike = async (): Promise<void> => {
      await kill();
      isInside = !over.has(step);
    };
    trap.set(step, async () => {
      if (delayMs !== undefined) return void setTimeout(strike, delayMs);
      await strike();
      await down();
    });
    const { id } = await plane.engine.submit(scenario.operation, input, { userName: "tester" });
    await down();
    await h1.startLibvirtd();
    const task = await plane.engine.wait(id, endMs);
    t.diagnostic(`${isInside ? "" : "too late: "}${task.state}: ${task.error?.detail ?? ""}`);
    assert.ok(hasEnded(task), `it is still ${task.state}: ${task.message}`);
    assert.equal(task.unfinished, undefined, task.error?.detail ?? "");
    await plane.connected();
    if (task.state !== "succeeded") {
      // A daemon that dies in the midst of a handshake looks like one that refuses the certificate, or us.
      assert.match(task.error?.code ?? "", /^host_(unreachable|untrusted|refused)$/, task.error?.detail ?? "");
      await assertNothingLeft();
      assert.deepEqual(await labState(lab), situation, "undone, but not as before");
      await again(scenario.operation, input);
    }
    await assertNothingLeft();
    await assertOutcome(scenario.done, plane, lab, title);
    await sweep(lab);
    await refresh();
    return isInside;
  }

  /** What the dead daemon had QEMU open, the new one does not know: libvirt needs the guest to start anew. */
  async function again(operation: string, input: unknown): Promise<void> {
    const task = await plane.run(operation, input);
    if (task.state === "succeeded") return;
    assert.match(task.error?.detail ?? "", /Duplicate nodes with node-name/);
    assert.match(task.error?.remedy ?? "", /start it again/);
    await plane.succeed("vm.force-off", { vmId: plane.vm("subject").id });
    await plane.succeed("vm.start", { vmId: plane.vm("subject").id });
    await plane.succeed(operation, input);
  }

  async function refresh(): Promise<void> {
    const call = { signal: AbortSignal.timeout(endMs) };
    for (const { id } of plane.inventory.list("host")) await plane.deps.hostSync.syncHost(id, call);
  }

  async function assertNothingLeft(): Promise<void> {
    await refresh();
    assert.deepEqual(await orphans(lab, await labState(lab), plane.inventory, plane.store), []);
  }
});

/**
 * kill -9 of the control plane before and after every step, forward and backward, of every operation on hosts, storage and
 * networks: the next start finishes the task, or undoes it to what the hosts were before; host and store agree. The steps are
 * those that are registered.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { ControlPlane, labAccess } from "#app/test-support/control-plane.ts";
import { type CrashMoment, crashMoments } from "#app/test-support/crash-moment.ts";
import { changed, undocumented } from "#app/test-support/lab-change.ts";
import { labState } from "#app/test-support/lab-state.ts";
import { type HostScenario, hostScenarios, type World } from "#app/test-support/host-scenario.ts";

const child = path.join(import.meta.dirname, "../../app/test-support/host-crash.child.ts");

describe("kill -9 at every step", () => {
  let world: World;
  let folder: string;

  before(async () => {
    await Lab.down("host-crash");
    folder = mkdtempSync(path.join(tmpdir(), "inn-host-crash-"));
    const lab = await Lab.up({ name: "host-crash", hostCount: 2 });
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
      const moments = await momentsOf(folder, scenario.operation);
      assert.ok(moments.length > 0);
      for (const moment of moments) {
        const task = await crashAndResume(folder, scenario, moment);
        t.diagnostic(`${scenario.operation} ${words(moment)}: ${task.state}`);
      }
    });
  }

  /** libvirtd 9.0 itself may crash when a client with calls under way is killed; on real hosts systemd starts it again. */
  async function keepDaemonsUp(): Promise<void> {
    for (const host of world.lab.hosts) {
      await host
        .exec(["sh", "-c", "kill -0 $(cat /run/libvirtd.pid)"])
        .catch(() => host.startLibvirtd(AbortSignal.timeout(60_000)));
    }
  }

  async function crashAndResume(folder: string, scenario: HostScenario, moment: CrashMoment): Promise<Task> {
    const what = `${scenario.operation} ${words(moment)}`;
    await keepDaemonsUp();
    const input = await prepared(folder, scenario, world);
    const state = await labState(world.lab);
    assert.equal(await runChild(folder, scenario.operation, input, moment), "SIGKILL", what);
    await using plane = await ControlPlane.open({ folder });
    // Also the end of the process before may have taken a daemon along.
    await keepDaemonsUp();
    const last = plane.inventory.list("task").reduce((a, b) => (a.createdAt >= b.createdAt ? a : b));
    assert.equal(last.operation, scenario.operation);
    const task = await plane.engine.wait(last.id, 60_000);
    const wanted = moment.failAfter === undefined ? "succeeded" : "failed";
    assert.equal(task.state, wanted, `${what}: ${task.message} ${task.error?.detail ?? ""}`);
    assert.equal(task.unfinished, undefined, what);
    await plane.connected();
    const isDone = task.state === "succeeded";
    const left = await labState(world.lab);
    assert.deepEqual(left, isDone ? changed(state, scenario.change ?? {}) : state, `${what}: the task ${task.state}`);
    const isThere = isDone !== (scenario.removes === true);
    const present = await scenario.present(plane, world);
    assert.deepEqual(present, { onHost: isThere, stored: isThere }, `${what}: the task ${task.state}`);
    // The rest of the hosts is read again at the same time.
    await plane.until(
      "documents as the hosts are",
      () => undocumented(world.lab, left, plane.inventory).length === 0 || undefined,
    );
    await scenario.cleanUp(plane);
    return task;
  }
});

function words({ step, phase, failAfter }: CrashMoment): string {
  return `${phase} ${step}${failAfter === undefined ? "" : ` (failed after ${failAfter})`}`;
}

async function momentsOf(folder: string, operation: string): Promise<CrashMoment[]> {
  await using plane = await ControlPlane.open({ folder });
  return crashMoments(plane.wiring.operations.find(({ name }) => name === operation)?.steps ?? []);
}

async function prepared(folder: string, scenario: HostScenario, world: World): Promise<object> {
  await using plane = await ControlPlane.open({ folder });
  await plane.connected();
  return await scenario.prepare(plane, world);
}

/** The signal that ended it. */
async function runChild(folder: string, operation: string, input: object, moment: CrashMoment): Promise<string | null> {
  const argv = [child, folder, operation, JSON.stringify(input), JSON.stringify(moment)];
  const process_ = spawn(process.execPath, argv, { stdio: ["ignore", "inherit", "inherit"], timeout: 60_000 });
  const { promise, resolve } = Promise.withResolvers<string | null>();
  process_.once("exit", (_code, signal) => resolve(signal));
  return promise;
}

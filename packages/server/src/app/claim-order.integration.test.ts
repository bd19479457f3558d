/** What waits for what, on a simulated host: also for tasks that choose their host and their pools only as they run. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { StepBoundary } from "#management/task/step-runner.ts";
import { ControlPlane } from "./test-support/control-plane.ts";
import { type ListeningSimHost, listeningSimHost } from "./test-support/sim-host.ts";

const mib = 1 << 20;
const create = (name: string) => ({
  request: { name, memory: { sizeMiB: 128 }, disks: [{ capacityBytes: 64 * mib }] },
});

describe("tasks that choose their host as they run", { timeout: 120_000 }, () => {
  let sim: ListeningSimHost;
  let plane: ControlPlane;
  /** Tasks that come to make disks are held there. */
  const gate = { isClosed: false, opened: Promise.withResolvers<void>(), held: 0, mostHeld: 0 };
  const close = (): void => {
    Object.assign(gate, { isClosed: true, opened: Promise.withResolvers<void>(), mostHeld: 0 });
  };
  function open(): void {
    gate.isClosed = false;
    gate.opened.resolve();
  }
  async function onStepBoundary({ step, phase }: StepBoundary): Promise<void> {
    if (step !== "disks" || phase !== "before" || !gate.isClosed) return;
    gate.held += 1;
    gate.mostHeld = Math.max(gate.held, gate.mostHeld);
    await gate.opened.promise;
    gate.held -= 1;
  }

  before(async () => {
    sim = await listeningSimHost();
    plane = await ControlPlane.open({ onStepBoundary });
    await plane.succeed("host.add", { request: { uri: sim.uri, name: "h1" } });
  });
  afterEach(open);
  after(async () => {
    open();
    await plane?.[Symbol.asyncDispose]();
    await sim?.[Symbol.asyncDispose]();
  });

  const submit = (operation: string, input: unknown): Promise<Task> =>
    plane.engine.submit(operation, input, { userName: "tester" });
  const ended = (task: Task): Promise<Task> => plane.engine.wait(task.id, 30_000);
  const now = (task: Task): Task => plane.inventory.require("task", task.id);
  const allAre = (tasks: readonly Task[], message: RegExp) =>
    plane.until(`${message}`, () => tasks.every((task) => message.test(now(task).message)) || undefined);
  const atTheGate = (...tasks: Task[]) => allAre(tasks, /^disks$/);
  const waiting = (...tasks: Task[]) => allAre(tasks, /^waiting for its turn on/);

  test("no more copies at once than a host takes", async () => {
    close();
    const tasks: Task[] = [];
    for (const name of ["a", "b", "c", "d", "e", "f"]) tasks.push(await submit("vm.create", create(name)));
    await atTheGate(...tasks.slice(0, 4));
    await waiting(...tasks.slice(4));
    open();
    const states = (await Promise.all(tasks.map(ended))).map(({ state }) => state);
    assert.deepEqual(new Set(states), new Set(["succeeded"]));
    assert.ok(gate.mostHeld <= 4, `${gate.mostHeld} at once`);
  });

  test("one that waits for its host can be cancelled, and leaves nothing", async () => {
    close();
    const tasks: Task[] = [];
    for (const name of ["g", "h", "i", "j", "k"]) tasks.push(await submit("vm.create", create(name)));
    await atTheGate(...tasks.slice(0, 4));
    const [, , , , last] = tasks;
    assert.ok(last !== undefined);
    await waiting(last);
    await plane.engine.cancel(last.id);
    assert.equal((await ended(last)).state, "cancelled");
    open();
    await Promise.all(tasks.map(ended));
    assert.equal((await plane.run("vm.create", create("k"))).state, "succeeded");
  });

  test("a host is connected anew once its new VM is made, and before the next one is", async () => {
    close();
    const task = await submit("vm.create", create("l"));
    await atTheGate(task);
    const reconnect = await submit("host.reconnect", { hostId: plane.host("h1").id });
    const later = await submit("vm.create", create("m"));
    await waiting(later);
    assert.equal(now(reconnect).state, "queued");
    open();
    for (const each of [task, reconnect, later]) {
      const { state, error } = await ended(each);
      assert.equal(state, "succeeded", `${each.operation} ${error?.detail}`);
    }
  });

  test("a pool is not deleted while a VM is made in it, nor once it lives there", async () => {
    const path = "/var/lib/libvirt/roomy";
    await plane.succeed("pool.create", { request: { host: "h1", name: "roomy", type: "dir", path } });
    const { id: poolId } = plane.inventory.require("storage-pool", "roomy");
    close();
    const input = { request: { ...create("n").request, disks: [{ capacityBytes: 64 * mib, pool: "roomy" }] } };
    const task = await submit("vm.create", input);
    await atTheGate(task);
    const deletion = await submit("pool.delete", { poolId });
    assert.equal(now(deletion).state, "queued");
    open();
    assert.equal((await ended(task)).state, "succeeded");
    const refused = await ended(deletion);
    assert.deepEqual([refused.state, refused.error?.code], ["failed", "conflict"], refused.error?.detail ?? "");
    assert.equal(plane.inventory.require("storage-pool", "roomy").state, "running");
  });
});

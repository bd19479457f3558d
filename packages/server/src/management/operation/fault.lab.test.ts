/**
 * What hosts do at the worst moment: libvirtd is killed while a VM is made (of others: daemon-kill.lab.test.ts), a file system fills up while something is
 * written to it. A task ends as done or undone and says so, guests go on, nothing is left over, and it works the next time.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { ControlPlane, labAccess } from "#app/test-support/control-plane.ts";
import { killerOf } from "#app/test-support/daemon-killer.ts";
import { labState, orphans } from "#app/test-support/lab-state.ts";
import { StepTrap } from "#app/test-support/step-trap.ts";
import { hasEnded } from "#management/task/engine.ts";

const small = "/var/lib/libvirt/small";
const mib = 1024 ** 2;
const endMs = 90_000;

interface Case {
  readonly title: string;
  readonly operation: string;
  readonly step: string;
  /**
   * From the step's begin to the kill. Absent: the daemon is gone before the step calls it, as libvirt 9.0 keeps the lock
   * of a VM for good whose QEMU it had not yet forked.
   */
  readonly delayMs?: number;
  readonly input: () => object;
  readonly makes: string;
}

describe("hosts at their worst", { timeout: 900_000 }, () => {
  let lab: Lab;
  let h1: LabHost;
  let plane: ControlPlane;
  const trap = new StepTrap();
  const context = { userName: "tester", signal: AbortSignal.timeout(900_000) };

  before(async () => {
    await Lab.down("fault");
    lab = await Lab.up({ name: "fault", hostCount: 1 });
    h1 = lab.host("h1");
    await h1.exec(["sh", "-c", `mkdir ${small} && mount -t tmpfs -o size=256m tmpfs ${small}`]);
    plane = await ControlPlane.open({ onStepBoundary: trap.onStepBoundary });
    await plane.addHost(h1.uri, (await labAccess(lab)).tls, { name: "h1" });
    await plane.succeed("pool.create", { request: { host: "h1", name: "small", type: "dir", path: small } });
    const file = await readFile((await guestImage()).path);
    await plane.wiring.image.upload(
      { name: "guest", pool: "local", host: "h1", sizeBytes: file.length },
      new Blob([file]).stream(),
      context,
    );
    // Random, so that every byte of it takes its place.
    await plane.wiring.image.upload(
      { name: "large", pool: "local", host: "h1", sizeBytes: 96 * mib },
      disk(96 * mib),
      context,
    );
  });

  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  const vm = (name: string): Vm => plane.inventory.require("vm", name);
  const large = [{ image: "large", pool: "local" }];
  const make = (name: string, change: object = {}) =>
    plane.succeed<{ vmId: string }>("vm.create", {
      request: { name, host: "h1", memory: { sizeMiB: 96 }, nics: [], ...change },
    });
  async function remove(...names: string[]): Promise<void> {
    for (const name of names) await plane.succeed("vm.delete", { vmId: vm(name).id, deleteDisks: true, force: true });
  }

  /** All but `leftMiB` of the pool. */
  async function fill(leftMiB: number): Promise<void> {
    const script = `left=$(df --output=avail -k ${small} | tail -1)
        head -c $(( (left - ${leftMiB * 1024}) * 1024 )) /dev/zero > ${small}/filler`;
    await h1.exec(["sh", "-c", script]);
  }
  async function free(): Promise<void> {
    await h1.exec(["rm", "-f", `${small}/filler`]);
    await plane.wiring.pool.refresh(plane.inventory.require("storage-pool", "small").id, context);
  }
  const content = async () => (await h1.exec(["ls", "-A", small])).stdout.split("\n").filter((name) => name !== "");

  const isDown = (): boolean => plane.inventory.require("host", "h1").connectionState !== "connected";
  async function agent<T>(command: string, args: object): Promise<T> {
    const request = JSON.stringify({ execute: command, arguments: args });
    const { stdout } = await h1.exec(["virsh", "qemu-agent-command", "subject", request]);
    return (JSON.parse(stdout) as { return: T }).return;
  }

  async function assertNothingLeft(): Promise<void> {
    await plane.succeed("host.refresh", { hostId: plane.inventory.require("host", "h1").id });
    assert.deepEqual(await orphans(lab, await labState(lab), plane.inventory, plane.store), []);
  }

  const cases: readonly Case[] = [
    {
      title: "vm.create, about to start",
      operation: "vm.create",
      step: "start",
      input: () => create([{ image: "guest", linked: true, pool: "local" }]),
      makes: "new",
    },
    {
      title: "vm.create, copying a volume",
      operation: "vm.create",
      step: "disks",
      delayMs: 20,
      input: () => create(large),
      makes: "new",
    },
  ];
  for (const { title, operation, step, delayMs, input, makes } of cases) {
    test(`libvirtd killed in mid-call: ${title}`, async (t) => {
      await make("subject", { disks: large, start: true });
      const kill = await killerOf(h1);
      const down = () => plane.until("a daemon that is gone", () => isDown() || undefined, endMs);
      const strike = async (): Promise<void> => {
        if (delayMs !== undefined) return void setTimeout(kill, delayMs);
        await kill();
        await down();
      };
      trap.set(step, strike);
      const { id } = await plane.engine.submit(operation, input(), { userName: "tester" });
      await down();
      await h1.startLibvirtd();
      const task = await plane.engine.wait(id, endMs);
      t.diagnostic(`${task.state} at ${lastStep(task)}: ${task.error?.detail ?? ""}`);
      assert.ok(hasEnded(task), `it is still ${task.state}: ${task.message}`);
      assert.equal(task.unfinished, undefined, task.error?.detail ?? "");
      // A daemon that dies in the midst of a TLS handshake looks like one that refuses the certificate.
      const codes = [undefined, "host_unreachable", "host_untrusted"];
      assert.ok(codes.includes(task.error?.code), task.error?.detail ?? "");
      await plane.connected();
      await assertNothingLeft();
      assert.equal(vm("subject").state, "running");
      if (task.state !== "succeeded") await plane.succeed(operation, input());
      await remove("subject", ...(makes === "" ? [] : [makes]));
      await assertNothingLeft();
    });
  }

  test("full file system: a clone into it is undone, its source runs on", async () => {
    await make("subject", { disks: large, start: true });
    trap.set("disks", () => fill(16));
    const task = await plane.run("vm.clone", {
      vmId: vm("subject").id,
      request: { name: "new", pool: "small" },
    });
    assertFull(task);
    assert.deepEqual(await content(), ["filler"]);
    assert.equal(vm("subject").state, "running");
    await assertNothingLeft();
    await free();
    await plane.succeed("vm.clone", { vmId: vm("subject").id, request: { name: "new", pool: "small" } });
    await remove("new", "subject");
  });

  test("full file system: a snapshot with memory is undone, its VM runs on", async () => {
    await make("subject", { disks: [{ capacityBytes: 32 * mib, pool: "small" }], start: true });
    const files = await content();
    trap.set("freeze", () => fill(1));
    const input = { vmId: vm("subject").id, request: { name: "s1", memory: true } };
    assertFull(await plane.run("snapshot.create", input));
    assert.deepEqual(await content(), ["filler", ...files].toSorted());
    assert.equal(vm("subject").state, "running");
    assert.equal(plane.inventory.list("snapshot").length, 0);
    await free();
    await plane.succeed("snapshot.create", input);
    await remove("subject");
    assert.deepEqual(await content(), []);
  });

  test("full file system: an upload of an image is refused and leaves nothing; one to a volume says why it ended", async () => {
    const request = { name: "big", pool: "small", host: "h1", sizeBytes: 64 * mib };
    await assert.rejects(
      plane.wiring.image.upload(
        request,
        disk(64 * mib, () => fill(8)),
        context,
      ),
      {
        code: "disk_full",
      },
    );
    assert.deepEqual(await content(), ["filler"]);
    await free();
    const poolId = plane.inventory.require("storage-pool", "small").id;
    const { volumeId = "" } = await plane.succeed<{ volumeId: string }>("volume.create", {
      request: { poolId, name: "data.raw", format: "raw", capacityBytes: 64 * mib },
    });
    const upload = (act?: () => Promise<void>) =>
      plane.wiring.volume.upload(volumeId, disk(64 * mib, act), 64 * mib, context);
    await assert.rejects(
      upload(() => fill(8)),
      { code: "disk_full" },
    );
    await free();
    await upload();
    await plane.succeed("volume.delete", { volumeId });
    assert.deepEqual(await content(), []);
  });

  test("full file system: a guest that has no space for its data is shown paused, why, and goes on when there is space", async () => {
    const disks = [
      { image: "guest", linked: true, pool: "local" },
      { capacityBytes: 128 * mib, pool: "small" },
    ];
    await make("subject", { disks, start: true });
    await plane.until("its agent", () => vm("subject").guestAgentConnected || undefined, endMs);
    await fill(16);
    const arg = ["dd", "if=/dev/urandom", "of=/dev/vdb", "bs=1M", "count=64", "conv=fsync"];
    const { pid } = await agent<{ pid: number }>("guest-exec", { path: "/bin/busybox", arg });
    const paused = await plane.until(
      "a paused guest",
      () => (vm("subject").state === "paused" ? vm("subject") : undefined),
      endMs,
    );
    assert.equal(paused.found.stateDetail, "I/O error: vdb: no space left");
    const { found } = await plane.until("an event", () => plane.events("vm.io-error")[0], endMs);
    assert.equal(found.severity, "error");
    assert.match(found.message, /^VM subject has a disk error \(.*small.*enospc\) on host h1$/);
    await free();
    await plane.succeed("vm.resume", { vmId: vm("subject").id });
    assert.equal(vm("subject").state, "running");
    const ended = async (): Promise<number | undefined> => {
      const status = await agent<{ exited: boolean; exitcode?: number }>("guest-exec-status", { pid });
      return status.exited ? status.exitcode : undefined;
    };
    assert.equal(await waitFor("the end of its writing", ended, { timeoutMs: endMs }), 0);
    assert.equal(vm("subject").state, "running");
    await remove("subject");
    assert.deepEqual(await content(), []);
  });
});

function assertFull(task: Task): void {
  assert.equal(task.state, "failed");
  assert.equal(task.error?.code, "disk_full", task.error?.detail ?? "");
  assert.equal(task.unfinished, undefined);
}

const create = (disks: object[]) => ({
  request: { name: "new", host: "h1", memory: { sizeMiB: 96 }, disks, start: true },
});

/** A raw disk: a boot sector's mark, then noise. `act` happens after the part that is looked at before it is stored. */
function disk(sizeBytes: number, act: () => Promise<void> = async () => {}): ReadableStream<Uint8Array> {
  let done = 0;
  return new ReadableStream({
    async pull(controller) {
      if (done === 8 * mib) await act();
      const chunk = randomBytes(mib);
      if (done === 0) chunk.set([0x55, 0xaa], 510);
      controller.enqueue(chunk);
      done += mib;
      if (done >= sizeBytes) controller.close();
    },
  });
}

function lastStep(task: Task): string {
  return task.steps.findLast(({ state }) => state !== "pending")?.name ?? "";
}

/**
 * kill -9 of the control plane before and after every step of every operation on hosts, storage and networks: the next
 * start finishes the task or undoes it, and host and store agree. The steps are those that are registered.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { labAccess, type LabAccess } from "#app/test-support/control-plane.ts";
import { HostPlane } from "#app/test-support/host-plane.ts";

const child = path.join(import.meta.dirname, "../../app/test-support/host-crash.child.ts");
const phases = ["before", "after"] as const;

interface Scenario {
  readonly operation: string;
  /** Makes what the operation works on; returns its input. */
  prepare(plane: HostPlane): Promise<object>;
  /** Whether what the operation makes (or removes) is on the host, and whether it is in the store. */
  present(plane: HostPlane): Promise<{ readonly onHost: boolean; readonly stored: boolean }>;
  /** For operations that remove: it is there when the task failed. */
  readonly removes?: boolean;
  cleanUp(plane: HostPlane): Promise<void>;
}

describe("kill -9 at every step", () => {
  let lab: Lab;
  let access: LabAccess;
  let h1: LabHost;
  let folder: string;

  before(async () => {
    await Lab.down("host-crash");
    folder = mkdtempSync(path.join(tmpdir(), "inn-host-crash-"));
    lab = await Lab.up({ name: "host-crash", hostCount: 2 });
    access = await labAccess(lab);
    h1 = lab.host("h1");
    await using plane = await HostPlane.open(folder);
    await plane.addHost(h1.uri, access.tls);
  });

  after(async () => {
    await lab?.down();
    rmSync(folder, { recursive: true, force: true });
  });

  const onHost = async (...argv: string[]): Promise<boolean> =>
    await h1.exec(argv).then(
      () => true,
      () => false,
    );
  const poolRequest = { request: { host: "h1", name: "cp", type: "dir", path: "/var/lib/libvirt/cp" } };
  const networkRequest = { request: { host: "h1", name: "cn", forwardMode: "isolated", address: "10.213.9.1/24" } };
  const image = "/var/lib/libvirt/images/ci.img";

  const poolPresent = async (plane: HostPlane) => ({
    onHost: await onHost("virsh", "pool-info", "cp"),
    stored: stored(plane, "storage-pool", "cp") !== undefined,
  });
  const networkPresent = async (plane: HostPlane) => ({
    onHost: await onHost("virsh", "net-info", "cn"),
    stored: stored(plane, "network", "cn") !== undefined,
  });
  const volumePresent = async (plane: HostPlane) => ({
    onHost: await onHost("test", "-e", "/var/lib/libvirt/images/cv.raw"),
    stored: stored(plane, "volume", "cv.raw") !== undefined,
  });
  const scenarios: readonly Scenario[] = [
    {
      operation: "host.add",
      prepare: async () => ({ request: { uri: lab.host("h2").uri, tls: access.tls, name: "second" } }),
      async present(plane) {
        const host = plane.inventory.by("host", "name", "second")[0];
        const isWhole = host?.connectionState === "connected" && plane.inventory.byHost("network", host.id).length > 0;
        const left = plane.inventory.list("storage-pool").length + plane.inventory.list("network").length;
        assert.ok(host !== undefined || left === 4, `${left} pools and networks are stored`);
        return { onHost: isWhole, stored: host !== undefined };
      },
      async cleanUp(plane) {
        const host = plane.inventory.by("host", "name", "second")[0];
        if (host !== undefined) await plane.succeed("host.remove", { hostId: host.id });
      },
    },
    {
      operation: "host.remove",
      removes: true,
      async prepare(plane) {
        const { id } = await plane.addHost(lab.host("h2").uri, access.tls, { name: "second" });
        return { hostId: id };
      },
      async present(plane) {
        const isStored = plane.inventory.by("host", "name", "second").length > 0;
        const credentials = await plane.store.transaction((transaction) => transaction.listPrivate("host-credential"));
        return { onHost: credentials.length > 1, stored: isStored };
      },
      cleanUp: async () => {},
    },
    {
      operation: "pool.create",
      prepare: async () => poolRequest,
      present: poolPresent,
      cleanUp: (plane) => deleteIfStored(plane, "storage-pool", "cp"),
    },
    {
      operation: "pool.delete",
      removes: true,
      prepare: (plane) =>
        plane.succeed<{ poolId: string }>("pool.create", poolRequest).then(({ poolId }) => ({ poolId })),
      present: poolPresent,
      cleanUp: (plane) => deleteIfStored(plane, "storage-pool", "cp"),
    },
    {
      operation: "volume.create",
      prepare: async (plane) => volumeRequest(plane, "cv.raw"),
      present: volumePresent,
      cleanUp: (plane) => deleteIfStored(plane, "volume", "cv.raw"),
    },
    {
      operation: "volume.resize",
      async prepare(plane) {
        const { volumeId } = await plane.succeed("volume.create", volumeRequest(plane, "cv.raw"));
        return { volumeId, request: { capacityBytes: 8192 } };
      },
      async present(plane) {
        const capacity = stored(plane, "volume", "cv.raw");
        const isGrown = capacity !== undefined && "capacityBytes" in capacity && capacity.capacityBytes === 8192;
        return {
          onHost: await onHost("sh", "-c", `test $(stat -c %s ${image.replace("ci.img", "cv.raw")}) = 8192`),
          stored: isGrown,
        };
      },
      cleanUp: (plane) => deleteIfStored(plane, "volume", "cv.raw"),
    },
    {
      operation: "volume.delete",
      removes: true,
      async prepare(plane) {
        const { volumeId } = await plane.succeed("volume.create", volumeRequest(plane, "cv.raw"));
        return { volumeId };
      },
      present: volumePresent,
      cleanUp: (plane) => deleteIfStored(plane, "volume", "cv.raw"),
    },
    {
      operation: "network.create",
      prepare: async () => networkRequest,
      present: networkPresent,
      cleanUp: (plane) => deleteIfStored(plane, "network", "cn"),
    },
    {
      operation: "network.delete",
      removes: true,
      async prepare(plane) {
        const { networkId } = await plane.succeed("network.create", networkRequest);
        return { networkId };
      },
      present: networkPresent,
      cleanUp: (plane) => deleteIfStored(plane, "network", "cn"),
    },
    {
      operation: "image.delete",
      removes: true,
      async prepare(plane) {
        const context = { userName: "tester", signal: AbortSignal.timeout(30_000) };
        await h1.exec(["truncate", "-s", "4096", image]);
        await plane.wiring.pool.refresh(stored(plane, "storage-pool", "local")?.id ?? "", context);
        const volumeId = (stored(plane, "volume", "ci.img")?.id ?? "") as `vol-${string}`;
        const made = await plane.wiring.image.create({ name: "ci", volumeId }, context);
        return { imageId: made.id };
      },
      present: async (plane) => ({
        onHost: await onHost("test", "-e", image),
        stored: stored(plane, "image", "ci") !== undefined,
      }),
      cleanUp: async () => {},
    },
  ];

  for (const scenario of scenarios) {
    test(scenario.operation, async (t) => {
      const steps = await stepsOf(folder, scenario.operation);
      assert.ok(steps.length > 0);
      for (const step of steps) {
        for (const phase of phases) {
          const crashAt = `${scenario.operation}/${step}/${phase}`;
          const task = await crashAndResume(folder, scenario, crashAt);
          t.diagnostic(`${crashAt}: ${task.state}`);
        }
      }
    });
  }

  /** libvirtd 9.0 itself may crash when a client with calls under way is killed; on real hosts systemd starts it again. */
  async function keepDaemonsUp(): Promise<void> {
    for (const host of lab.hosts) {
      await host
        .exec(["sh", "-c", "kill -0 $(cat /run/libvirtd.pid)"])
        .catch(() => host.startLibvirtd(AbortSignal.timeout(60_000)));
    }
  }

  async function crashAndResume(folder: string, scenario: Scenario, crashAt: string): Promise<Task> {
    await keepDaemonsUp();
    const input = await prepared(folder, scenario);
    assert.equal(await runChild(folder, scenario.operation, input, crashAt), "SIGKILL", crashAt);
    await using plane = await HostPlane.open(folder);
    // Also the end of the process before may have taken a daemon along.
    await keepDaemonsUp();
    const last = plane.inventory.list("task").reduce((a, b) => (a.createdAt >= b.createdAt ? a : b));
    assert.equal(last.operation, scenario.operation);
    const task = await plane.engine.wait(last.id, 60_000);
    assert.ok(["succeeded", "failed"].includes(task.state), `${crashAt}: ${task.state} at ${task.message}`);
    await plane.connected();
    const wanted = (task.state === "succeeded") !== (scenario.removes === true);
    const present = await scenario.present(plane);
    assert.deepEqual(present, { onHost: wanted, stored: wanted }, `${crashAt}: the task ${task.state}`);
    await scenario.cleanUp(plane);
    return task;
  }
});

function stored(plane: HostPlane, kind: "storage-pool" | "network" | "volume" | "image", name: string) {
  return plane.inventory.by(kind, "name", name)[0];
}

function volumeRequest(plane: HostPlane, name: string): object {
  const poolId = stored(plane, "storage-pool", "local")?.id;
  return { request: { poolId, name, format: "raw", capacityBytes: 4096 } };
}

async function stepsOf(folder: string, operation: string): Promise<string[]> {
  await using plane = await HostPlane.open(folder);
  return plane.wiring.operations.find(({ name }) => name === operation)?.steps.map(({ name }) => name) ?? [];
}

async function prepared(folder: string, scenario: Scenario): Promise<object> {
  await using plane = await HostPlane.open(folder);
  await plane.connected();
  return await scenario.prepare(plane);
}

/** The signal that ended it. */
async function runChild(folder: string, operation: string, input: object, crashAt: string): Promise<string | null> {
  const process_ = spawn(process.execPath, [child, folder, operation, JSON.stringify(input), crashAt], {
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 60_000,
  });
  const { promise, resolve } = Promise.withResolvers<string | null>();
  process_.once("exit", (_code, signal) => resolve(signal));
  return promise;
}

async function deleteIfStored(
  plane: HostPlane,
  kind: "storage-pool" | "network" | "volume",
  name: string,
): Promise<void> {
  const found = stored(plane, kind, name);
  if (found === undefined) return;
  if (kind === "storage-pool") await plane.succeed("pool.delete", { poolId: found.id });
  else if (kind === "network") await plane.succeed("network.delete", { networkId: found.id });
  else await plane.succeed("volume.delete", { volumeId: found.id });
}

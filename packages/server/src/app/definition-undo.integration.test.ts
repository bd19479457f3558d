/**
 * Definitions that a task replaces as a whole, on a simulated host: what virsh changes right before stays and the task is
 * refused; what virsh changes right after is not undone, and the task says so; the task's own work is undone.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { type Connection, VIR_DOMAIN_XML_INACTIVE } from "@innkeeper/libvirt";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { AppError } from "#core/app-error.ts";
import type { ControlPlane } from "./test-support/control-plane.ts";
import { type ManagedSimHost, managedSimHost } from "./test-support/managed-sim-host.ts";
import type { StepTrap } from "./test-support/step-trap.ts";

const mib = 1 << 20;

const fail = (): Promise<never> => Promise.reject(new AppError("host_failed", "As the test wants it."));
function assertFailed(task: Task, code: string): void {
  assert.deepEqual([task.state, task.error?.code], ["failed", code], task.error?.detail ?? "");
}

describe("a definition that virsh changes behind a task's back", { timeout: 120_000 }, () => {
  let managed: ManagedSimHost;
  let plane: ControlPlane;
  let virsh: Connection;
  let trap: StepTrap;

  before(async () => {
    managed = await managedSimHost();
    ({ plane, virsh, trap } = managed);
  });
  afterEach(() => trap.clear());
  after(() => managed?.[Symbol.asyncDispose]());

  async function make(name: string): Promise<string> {
    const disks = [{ capacityBytes: 64 * mib, pool: "local" }];
    const request = { name, memory: { sizeMiB: 128 }, disks };
    return (await plane.succeed<{ vmId: string }>("vm.create", { request })).vmId;
  }
  async function xmlOf(name: string): Promise<string> {
    const { dom } = await virsh.remote.domainLookupByName({ name });
    return (await virsh.remote.domainGetXmlDesc({ dom, flags: VIR_DOMAIN_XML_INACTIVE })).xml;
  }
  /** As by virsh edit. */
  async function edit(name: string): Promise<void> {
    const xml = (await xmlOf(name)).replace("</name>", "</name><title>by hand</title>");
    await virsh.remote.domainDefineXml({ xml });
  }

  /** Of the next definition: the host carries it out, `meanwhile` is done, and the connection is gone. */
  function loseAnswer(meanwhile: () => Promise<void>): void {
    const { daemon } = managed.sim;
    const find = daemon.procedure.bind(daemon);
    daemon.procedure = (program, number) => {
      const found = find(program, number);
      if (found?.name.startsWith("domainDefineXml") !== true) return found;
      daemon.procedure = find;
      const run: typeof found.run = async (session, args) => {
        const outcome = await found.run(session, args);
        await meanwhile();
        session.close();
        return outcome;
      };
      return { ...found, run };
    };
  }
  async function editInput(vmId: string, name: string): Promise<unknown> {
    const domainXml = (await xmlOf(name)).replace(/<on_crash>\w+</, "<on_crash>preserve<");
    return { vmId, request: { domainXml } };
  }
  async function revertInput(vmId: string): Promise<unknown> {
    const input = { vmId, request: { name: "s" } };
    const { snapshotId } = await plane.succeed<{ snapshotId: string }>("snapshot.create", input);
    await plane.succeed("vm.change", { vmId, request: { cpu: { count: 2 } } });
    return { snapshotId };
  }
  const operations = [
    { operation: "vm.edit", step: "define", input: editInput, own: "<on_crash>preserve<" },
    {
      operation: "vm.change",
      step: "change",
      input: (vmId: string) => Promise.resolve({ vmId, request: { cpu: { count: 3 } } }),
      own: ">3</vcpu>",
    },
    { operation: "snapshot.revert", step: "define", input: revertInput, own: ">1</vcpu>" },
  ];

  for (const { operation, step, input, own } of operations) {
    const name = operation.replace(".", "-");

    test(`${operation}: changed before ${step}, which then fails: the change stays`, async () => {
      const vmId = await make(`${name}-1`);
      const asked = await input(vmId, `${name}-1`);
      trap.set(step, async () => {
        await edit(`${name}-1`);
        trap.set(step, fail, "after");
      });
      const task = await plane.run(operation, asked);
      const isRefused = operation !== "vm.change";
      assertFailed(task, isRefused ? "conflict" : "host_failed");
      assert.equal(task.unfinished, undefined, task.error?.detail ?? "");
      const xml = await xmlOf(`${name}-1`);
      assert.match(xml, /<title>by hand/);
      assert.ok(!xml.includes(own));
    });

    test(`${operation}: changed after ${step}, before the undo: it stays, and the task says so`, async () => {
      const vmId = await make(`${name}-2`);
      const asked = await input(vmId, `${name}-2`);
      trap.set(
        step,
        async () => {
          await edit(`${name}-2`);
          await fail();
        },
        "after",
      );
      const task = await plane.run(operation, asked);
      assertFailed(task, "host_failed");
      assert.match(task.error?.detail ?? "", /changed on its host meanwhile.*left as it is now/);
      const xml = await xmlOf(`${name}-2`);
      assert.match(xml, /<title>by hand/);
      assert.ok(xml.includes(own));
    });

    test(`${operation}: changed before the host's answer, which is lost: it stays, and the task says so`, async () => {
      const vmId = await make(`${name}-4`);
      const asked = await input(vmId, `${name}-4`);
      loseAnswer(() => edit(`${name}-4`));
      const task = await plane.run(operation, asked);
      assert.equal(task.state, "failed");
      assert.match(task.error?.detail ?? "", /changed on its host|changed meanwhile/);
      const xml = await xmlOf(`${name}-4`);
      assert.match(xml, /<title>by hand/);
      assert.ok(xml.includes(own));
    });

    test(`${operation}: the host's answer is lost, and nobody changed it: it is undone`, async () => {
      const vmId = await make(`${name}-5`);
      const asked = await input(vmId, `${name}-5`);
      loseAnswer(async () => {});
      const task = await plane.run(operation, asked);
      assertFailed(task, "host_unreachable");
      assert.equal(task.unfinished, undefined, task.error?.detail ?? "");
      assert.ok(!(await xmlOf(`${name}-5`)).includes(own));
    });

    test(`${operation}: nobody else changed it: it is undone`, async () => {
      const vmId = await make(`${name}-3`);
      const asked = await input(vmId, `${name}-3`);
      trap.set(step, fail, "after");
      const task = await plane.run(operation, asked);
      assertFailed(task, "host_failed");
      assert.deepEqual([task.unfinished, task.error?.detail], [undefined, "As the test wants it."]);
      assert.ok(!(await xmlOf(`${name}-3`)).includes(own));
    });
  }

  test("snapshot.revert: overlays that a definition of others names stay, until it has let go of them", async () => {
    const vmId = await make("held");
    const asked = await revertInput(vmId);
    trap.set(
      "define",
      async () => {
        await edit("held");
        await fail();
      },
      "after",
    );
    const task = await plane.run("snapshot.revert", asked);
    assert.deepEqual(task.unfinished, ["overlays", "define"], task.error?.detail ?? "");
    const source = /file='([^']+)'/.exec(await xmlOf("held"))?.[1] ?? "";
    assert.ok(managed.sim.host.files.find(source) !== undefined);
  });

  test("vm.change: a volume that it made stays while a definition of others names it, whatever its path", async () => {
    const folder = "/srv/R&D's";
    managed.sim.host.files.makeFolder(folder, { mode: 0o755, uid: 0, gid: 0 });
    const request = { host: "h1", name: "odd", type: "dir", path: folder };
    await plane.succeed("pool.create", { request });
    const task = await changeUnderEdit("odd-path", [{ capacityBytes: mib, pool: "odd" }]);
    assert.deepEqual(task.unfinished, ["disks", "change"], task.error?.detail ?? "");
    assert.match(task.error?.detail ?? "", /It names .*R&D's\/\S+, which therefore stay/);
    assert.equal([...managed.sim.host.files.folder(folder).entries].length, 1);
  });

  test("vm.change: a disk that was there before is no reason to stop its undo", async () => {
    const poolId = plane.inventory.require("storage-pool", "local").id;
    const request = { poolId, name: "before", format: "qcow2", capacityBytes: mib };
    await plane.succeed("volume.create", { request });
    const path = "/var/lib/libvirt/images/before";
    const task = await changeUnderEdit("given-disk", [{ path }, { capacityBytes: mib, pool: "local" }], (xml) =>
      xml.replace(/<disk [^>]*>(?:(?!<\/disk>)[^])*vdc'[^]*?<\/disk>/, ""),
    );
    assert.equal(task.unfinished, undefined, task.error?.detail ?? "");
    assert.match(task.error?.detail ?? "", /left as it is now/);
    assert.match(await xmlOf("given-disk"), /images\/before/);
    assert.ok(managed.sim.host.files.find(path) !== undefined);
  });

  /** The task of a change whose definition others edit before it fails. */
  async function changeUnderEdit(
    name: string,
    disksAdd: readonly object[],
    more: (xml: string) => string = (xml) => xml,
  ): Promise<Task> {
    const vmId = await make(name);
    trap.set(
      "change",
      async () => {
        await edit(name);
        await virsh.remote.domainDefineXml({ xml: more(await xmlOf(name)) });
        await fail();
      },
      "after",
    );
    return await plane.run("vm.change", { vmId, request: { disksAdd } });
  }
});

/**
 * Snapshots through the task engine on a real host: what disks contain after any history of freezing, reverting, deleting
 * and linked cloning (written and read with qemu-io while the VM is off), and a guest that is brought back with its memory.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import fc from "fast-check";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import { SerialConsole } from "#virtualization/driver/libvirt/test-support/lab-hypervisor.ts";
import { ControlPlane, labAccess } from "./test-support/control-plane.ts";
import { addImage, makeVm } from "./test-support/lab-vm.ts";
import { labState, orphans } from "./test-support/lab-state.ts";

const execute = promisify(execFile);
const historyCount = 4;

describe("snapshots", () => {
  let lab: Lab;
  let folder: string;
  let plane: ControlPlane;

  before(async () => {
    lab = await Lab.up({ name: `snap-${process.pid}`, hostCount: 1 });
    folder = await mkdtemp(path.join(tmpdir(), "inn-snapshot-"));
    plane = await ControlPlane.open({ folder, access: await labAccess(lab) });
    await addImage(lab, plane);
  });

  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await lab?.down();
    await rm(folder, { recursive: true, force: true });
  });

  const assertNoOrphans = async (): Promise<void> => {
    assert.deepEqual(await orphans(lab, await labState(lab), plane.inventory, plane.store), []);
  };

  test("a guest is brought back with its memory and its disk, and goes on", { timeout: 300_000 }, async () => {
    const disks = [
      { image: "guest", linked: true, pool: "shared" },
      { capacityBytes: 1 << 24, pool: "shared" },
    ];
    const vmId = await makeVm(plane, "live", { disks, start: true });
    const call = { signal: AbortSignal.timeout(240_000) };
    const guest = plane.deps.providers.get(plane.host("h1").id).guest;
    const open = async () =>
      new SerialConsole(await guest.console.serial(plane.vm("live").uuid, { force: true }, call));
    const disk = "dd if=/dev/vdb bs=512 skip=8 count=1 iflag=direct 2>/dev/null | head -c5";
    const first = await (async () => {
      await using serial = await open();
      await serial.expect(/INNKEEPER-GUEST READY/);
      await serial.run(writeMark("MARK1"));
      const input = { vmId, request: { name: "with memory", memory: true, description: "before" } };
      const { snapshotId } = await plane.succeed<{ snapshotId: string }>("snapshot.create", input);
      await serial.run(writeMark("MARK2"));
      await plane.succeed("snapshot.create", { vmId, request: { name: "disk only" } });
      await serial.run(writeMark("MARK3"));
      assert.equal(await serial.run(`cat /tmp/state; ${disk}`), "MARK3\nMARK3");
      return snapshotId;
    })();
    assert.equal(plane.vm("live").currentSnapshotId, snapshotNamed("disk only").id);
    await plane.succeed("snapshot.revert", { snapshotId: first });
    assert.equal(plane.vm("live").state, "running");
    assert.equal(plane.vm("live").currentSnapshotId, first);
    await using serial = await open();
    await serial.send("");
    assert.equal(await serial.run(`cat /tmp/state; ${disk}`), "MARK1\nMARK1");
    // Merging under the running guest changes nothing of what it sees.
    await serial.run(writeMark("MARK4"));
    await plane.succeed("snapshot.delete", { snapshotId: first, children: true });
    assert.equal(await serial.run(`cat /tmp/state; ${disk}`), "MARK4\nMARK4");
    assert.deepEqual(plane.inventory.list("snapshot"), []);
    assert.equal(plane.vm("live").spec.disks[1]?.backingChain?.length ?? 0, 0);
    await assertNoOrphans();
    await plane.succeed("vm.delete", { vmId, deleteDisks: true, force: true });
    await assertNoOrphans();
  });

  test("refusals name the field or the state, and change nothing", async () => {
    const vmId = await makeVm(plane, "refused");
    const before = await labState(lab);
    const refuse = async (operation: string, input: unknown, words: RegExp): Promise<void> => {
      const said = await plane.run(operation, input).then(
        (task) => `${task.state} ${task.error?.field ?? ""} ${task.error?.detail ?? ""}`,
        (error: unknown) => String(error),
      );
      assert.match(said, words);
    };
    await refuse("snapshot.create", { vmId, request: { name: "m", memory: true } }, /is shutoff and can't be/);
    await refuse("snapshot.create", { vmId, request: { name: "q", quiesce: true } }, /nothing to quiesce/);
    await refuse("snapshot.create", { vmId, request: { name: "a/b" } }, /name must match pattern/);
    await refuse("snapshot.create", { vmId: "nobody", request: { name: "x" } }, /no VM "nobody"/);
    await refuse("snapshot.revert", { snapshotId: "snap-000000000000" }, /no snapshot/);
    assert.deepEqual(await labState(lab), before);
    await plane.succeed("snapshot.create", { vmId, request: { name: "x" } });
    await refuse("snapshot.create", { vmId, request: { name: "x" } }, /already has a snapshot "x"/);
    await refuse(
      "vm.change",
      { vmId, request: { disksChange: [{ target: "vda", capacityBytes: 1 << 40 }] } },
      /frozen in snapshots \(x\)/,
    );
    await plane.succeed("vm.delete", { vmId, deleteDisks: true });
    await assertNoOrphans();
  });

  test("linked clones of a stopped VM lie on one snapshot until it changes", async () => {
    const vmId = await makeVm(plane, "golden", { disks: [{ capacityBytes: 1 << 24, pool: "shared" }], nics: [] });
    await plane.succeed("vm.change", { vmId, request: { template: true } });
    const clone = async (name: string): Promise<string> => {
      const request = { name, linked: true };
      return (await plane.succeed<{ baseSnapshotId: string }>("vm.clone", { vmId, request })).baseSnapshotId;
    };
    const base = await clone("first");
    assert.equal(await clone("second"), base);
    assert.equal(plane.inventory.by("snapshot", "vmId", vmId).length, 1);
    await plane.succeed("vm.change", { vmId, request: { template: false } });
    await qemuIo(sourceOf(vmId), "write -P 7 0 512");
    assert.notEqual(await clone("third"), base);
    await verify(sourceOf(plane.vm("second").id), new Map(), "an earlier clone");
    for (const name of ["first", "second", "third", "golden"]) {
      await plane.succeed("vm.delete", { vmId: plane.vm(name).id, deleteDisks: true });
    }
    await assertNoOrphans();
  });

  test("memory that virsh saved is not started on other disks, nor lost", async () => {
    const vmId = await makeVm(plane, "saved", {
      disks: [{ capacityBytes: 1 << 24, pool: "shared" }],
      nics: [],
      start: true,
    });
    const host = lab.host("h1");
    const { snapshotId } = await plane.succeed<{ snapshotId: string }>("snapshot.create", {
      vmId,
      request: { name: "s" },
    });
    await host.exec(["virsh", "managedsave", "saved"]);
    const call = { signal: AbortSignal.timeout(60_000) };
    const { inventory } = plane.deps.providers.get(plane.host("h1").id).guest;
    assert.equal((await inventory.read(plane.vm("saved").uuid, call)).hasSavedMemory, true);
    await plane.deps.hostSync.syncHost(plane.host("h1").id, call);
    const before = await labState(lab);
    for (const [operation, input] of [
      ["snapshot.create", { vmId, request: { name: "t" } }],
      ["snapshot.revert", { snapshotId }],
      ["snapshot.delete", { snapshotId }],
      ["vm.clone", { vmId, request: { name: "copy" } }],
      ["vm.clone", { vmId, request: { name: "copy", linked: true } }],
      ["vm.change", { vmId, request: { memory: { sizeMiB: 64 } } }],
      ["vm.change", { vmId, request: { disksAdd: [{ capacityBytes: 1 << 24, pool: "shared" }] } }],
    ] as const) {
      const task = await plane.run(operation, input);
      assert.match(`${task.state} ${task.error?.detail}`, /^failed .*its memory saved/, operation);
      assert.match(task.error?.remedy ?? "", /managedsave-remove saved/);
    }
    assert.deepEqual(await labState(lab), before);
    await plane.succeed("vm.change", { vmId, request: { description: "still mine" } });
    await plane.succeed("vm.start", { vmId });
    assert.match((await host.exec(["virsh", "domstate", "--reason", "saved"])).stdout, /restored/);
    await plane.succeed("vm.delete", { vmId, deleteDisks: true, force: true });
    await assertNoOrphans();
  });

  test("a console keeps its password through revert and clone", async () => {
    const vmId = await makeVm(plane, "secret", { disks: [{ capacityBytes: 1 << 24, pool: "shared" }], nics: [] });
    const host = lab.host("h1");
    const edit = "virsh dumpxml --inactive secret | sed \"s/<graphics type='vnc'/& passwd='pa55'/\" > /root/secret.xml";
    await host.exec(["sh", "-c", `${edit} && virsh define /root/secret.xml && rm /root/secret.xml`]);
    const { snapshotId } = await plane.succeed<{ snapshotId: string }>("snapshot.create", {
      vmId,
      request: { name: "s" },
    });
    await plane.succeed("snapshot.revert", { snapshotId });
    await plane.succeed("vm.clone", { vmId, request: { name: "copy", linked: true, snapshot: "s" } });
    for (const name of ["secret", "copy"]) {
      const { stdout } = await host.exec(["virsh", "dumpxml", "--inactive", "--security-info", name]);
      assert.match(stdout, /passwd='pa55'/, name);
    }
    assert.doesNotMatch(
      await plane.deps.providers
        .get(plane.host("h1").id)
        .guest.inventory.xml(plane.vm("secret").uuid, { inactive: true }, { signal: AbortSignal.timeout(10_000) }),
      /pa55/,
    );
    for (const name of ["copy", "secret"]) {
      await plane.succeed("vm.delete", { vmId: plane.vm(name).id, deleteDisks: true });
    }
    await assertNoOrphans();
  });

  test(
    "no history of operations changes what a snapshot, a VM or a clone contains",
    { timeout: 1_200_000 },
    async () => {
      const action = fc.constantFrom("write", "freeze", "revert", "delete", "delete-tree", "clone", "delete-clone");
      const histories = fc.sample(
        fc.array(fc.record({ action, which: fc.nat(10), block: fc.nat(3) }), { minLength: 12, maxLength: 16 }),
        {
          numRuns: historyCount,
          seed: 20_260_101,
        },
      );
      for (const history of histories) await replay(history);
    },
  );

  async function replay(history: readonly { action: string; which: number; block: number }[]): Promise<void> {
    const vmId = await makeVm(plane, "subject", { disks: [{ capacityBytes: 1 << 22, pool: "shared" }], nics: [] });
    const contents = new Map<string, Map<number, number>>([[vmId, new Map()]]);
    const frozen = new Map<string, Map<number, number>>();
    let counter = 0;
    for (const { action, which, block } of history) {
      const snapshots = plane.inventory
        .by("snapshot", "vmId", vmId)
        .toSorted((a, b) => a.createdAt.localeCompare(b.createdAt));
      const snapshot = snapshots[which % Math.max(1, snapshots.length)];
      const vms = [...contents.keys()];
      const some = vms[which % vms.length] ?? vmId;
      counter++;
      if (action === "write") {
        await qemuIo(sourceOf(some), `write -P ${counter} ${block * 65536} 65536`);
        contents.get(some)?.set(block, counter);
      }
      if (action === "freeze") {
        const made = await plane.succeed<{ snapshotId: string }>("snapshot.create", {
          vmId,
          request: { name: `s${counter}` },
        });
        frozen.set(made.snapshotId, new Map(contents.get(vmId)));
      }
      if (snapshot !== undefined) await onSnapshot(action, snapshot, counter);
      const clone = vms.at(-1);
      if (action === "delete-clone" && clone !== undefined && clone !== vmId) {
        await plane.succeed("vm.delete", { vmId: clone, deleteDisks: true });
        contents.delete(clone);
      }
      for (const [id, content] of contents) await verify(sourceOf(id), content, `${action} ${id}`);
      for (const each of plane.inventory.by("snapshot", "vmId", vmId)) {
        await verify(each.disks[0]?.path ?? "", frozen.get(each.id) ?? new Map(), `${action}: snapshot ${each.name}`);
      }
      await assertNoOrphans();
    }
    for (const id of [...contents.keys()].toReversed())
      await plane.succeed("vm.delete", { vmId: id, deleteDisks: true });
    await assertNoOrphans();

    async function onSnapshot(kind: string, snapshot: Snapshot, number: number): Promise<void> {
      if (kind === "revert") {
        await plane.succeed("snapshot.revert", { snapshotId: snapshot.id });
        contents.set(vmId, new Map(frozen.get(snapshot.id)));
      }
      if (kind === "delete" || kind === "delete-tree") {
        await plane.succeed("snapshot.delete", { snapshotId: snapshot.id, children: kind === "delete-tree" });
      }
      if (kind === "clone" && contents.size < 3) {
        const request = { name: `clone${number}`, linked: true, snapshot: snapshot.id };
        const made = await plane.succeed<{ vmId: string }>("vm.clone", { vmId, request });
        contents.set(made.vmId, new Map(frozen.get(snapshot.id)));
      }
    }
  }

  function snapshotNamed(name: string): Snapshot {
    return plane.inventory.require("snapshot", name);
  }

  function sourceOf(vmId: string): string {
    return plane.inventory.require("vm", vmId).spec.disks[0]?.source ?? "";
  }
});

async function verify(file: string, content: ReadonlyMap<number, number>, what: string): Promise<void> {
  const reads = [0, 1, 2, 3].flatMap((block) => ["-c", `read -P ${content.get(block) ?? 0} ${block * 65536} 65536`]);
  const { stdout, stderr } = await execute("qemu-io", ["-r", ...reads, file]);
  assert.doesNotMatch(stdout + stderr, /verification failed|error/i, `${what}: ${file}`);
}

async function qemuIo(file: string, command: string): Promise<void> {
  const { stdout, stderr } = await execute("qemu-io", ["-c", command, file]);
  assert.doesNotMatch(stdout + stderr, /fail|error/i);
}

/** A shell command that leaves the mark in the guest's memory and on its second disk. */
function writeMark(mark: string): string {
  const toDisk = "dd of=/dev/vdb seek=8 bs=512 conv=sync,notrunc oflag=direct 2>/dev/null";
  return `echo ${mark} > /tmp/state; echo ${mark} | ${toDisk}`;
}

/** The operations on VMs through the task engine, on two real hosts, with guests that boot: done, refused, and undone. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { SerialConsole } from "#virtualization/driver/libvirt/test-support/lab-hypervisor.ts";
import { ControlPlane, labAccess } from "./test-support/control-plane.ts";
import { addImage, definitionOf, makeVm } from "./test-support/lab-vm.ts";
import { labState, orphans } from "./test-support/lab-state.ts";
import { StepTrap } from "./test-support/step-trap.ts";

describe("operations on VMs", { timeout: 900_000 }, () => {
  let lab: Lab;
  let folder: string;
  let plane: ControlPlane;
  const trap = new StepTrap();

  before(async () => {
    lab = await Lab.up({ name: `vmop-${process.pid}`, hostCount: 2 });
    folder = await mkdtemp(path.join(tmpdir(), "inn-vm-"));
    plane = await ControlPlane.open({
      folder,
      access: await labAccess(lab),
      onStepBoundary: trap.onStepBoundary,
    });
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
  const refuse = async (operation: string, input: unknown, words: RegExp): Promise<void> => {
    const before = await labState(lab);
    const said = await plane.run(operation, input).then(
      (task) => `${task.state} ${task.error?.code} ${task.error?.field ?? ""} ${task.error?.detail ?? ""}`,
      (error: unknown) => String(error),
    );
    assert.match(said, words);
    assert.deepEqual(await labState(lab), before);
  };
  const remove = async (...names: string[]): Promise<void> => {
    for (const name of names) {
      await plane.succeed("vm.delete", { vmId: plane.vm(name).id, deleteDisks: true, force: true });
    }
    await assertNoOrphans();
  };
  const consoleOf = async (name: string): Promise<SerialConsole> => {
    const { hostId, uuid } = plane.vm(name);
    const call = { signal: AbortSignal.timeout(300_000) };
    return new SerialConsole(await plane.deps.providers.get(hostId).guest.console.serial(uuid, { force: true }, call));
  };

  test("life: a guest that ignores a shutdown goes on, one that hears it goes off", async () => {
    const vmId = await makeVm(plane, "life");
    await refuse("vm.shutdown", { vmId }, /is shutoff and can't be shut down/);
    await plane.succeed("vm.start", { vmId });
    await refuse("vm.start", { vmId }, /is running and can't be started/);
    await refuse("vm.delete", { vmId }, /is running; it was not deleted/);
    await refuse("vm.rename", { vmId, request: { name: "other" } }, /is running and can't be renamed/);
    await plane.succeed("vm.suspend", { vmId });
    assert.equal(plane.vm("life").state, "paused");
    await plane.succeed("vm.resume", { vmId });
    await plane.succeed("vm.reset", { vmId });
    const ignored = await plane.run("vm.shutdown", { vmId, request: { timeoutMs: 1000 } });
    assert.equal(`${ignored.state} ${ignored.error?.code}`, "failed timeout");
    assert.match(ignored.error?.detail ?? "", /it still runs/);
    {
      await using serial = await consoleOf("life");
      await serial.expect(/INNKEEPER-GUEST READY/);
    }
    await plane.succeed("vm.shutdown", { vmId, request: { timeoutMs: 60_000 } });
    assert.equal(plane.vm("life").state, "shutoff");
    await plane.succeed("vm.rename", { vmId, request: { name: "renamed" } });
    assert.equal(plane.vm("renamed").id, vmId);
    await remove("renamed");
  });

  test("edit: the definition as a whole, for the next start; what reaches out is refused, a failure is taken back", async () => {
    const vmId = await makeVm(plane, "edit", { start: true, tags: ["kept"] });
    const xml = await definitionOf(plane, "edit");
    const put = (before: string | RegExp, after: string, more: object = {}) => {
      assert.match(xml, new RegExp(before));
      return { vmId, request: { domainXml: xml.replace(before, after), ...more } };
    };
    const change = put("<on_crash>destroy<", "<description>by hand</description><on_crash>restart<");
    const domainXml = change.request.domainXml.replace(/<innkeeper:tag>kept</, "<innkeeper:tag>forged<");
    const baseSha256 = createHash("sha256").update(xml).digest("hex");
    assert.deepEqual(
      await plane.succeed("vm.edit", {
        vmId,
        request: { domainXml: domainXml.replace(/(<vcpu[^>]*)>1</, "$1>2<"), baseSha256 },
      }),
      { applied: [], pending: ["cpu.count", "cpu.maxCount"] },
    );
    const vm = plane.vm("edit");
    assert.deepEqual(
      [vm.description, vm.tags, vm.pendingChanges],
      ["by hand", ["kept"], ["cpu.count", "cpu.maxCount"]],
    );
    assert.match(await definitionOf(plane, "edit"), /<on_crash>restart</);
    await refuse("vm.edit", put("<on_crash>", "<on_crash>", { baseSha256 }), /changed since it was read/);
    for (const [before, after, words] of [
      ["<on_crash>destroy<", "<on_crash>fly<", /fly|on_crash/],
      ["<on_crash>destroy<", "<nonsense/><on_crash>destroy<", /nonsense/],
      ["</domain>", "", /can't be used/],
      ["<name>edit<", "<name>other<", /its name is other/],
      [/guest[^']*'\/>|\.qcow2'/, "/etc/shadow'/>", /can't be used|devices\/disk/],
      [/(<memory[^>]*>)\d+/, "$19999999999999", /memory|bytes|has \d+ MiB/i],
      [/(<vcpu[^>]*>)1</, "$110000<", /cpu/i],
    ] as const) {
      await refuse("vm.edit", put(before, after), words);
    }
    const state = await labState(lab);
    const now = await definitionOf(plane, "edit");
    trap.set("define", fail, "after");
    const undone = await plane.run("vm.edit", put("<on_crash>destroy<", "<on_crash>preserve<"));
    assert.equal(undone.state, "failed");
    assert.equal(await definitionOf(plane, "edit"), now);
    assert.deepEqual(await labState(lab), state);
    await remove("edit");
  });

  test("a console's password in a document is in the domain, stays when that is edited, and is nowhere in the state", async () => {
    const secret = "vncSEC9x";
    const graphics = `<graphics type="vnc" port="-1" autoport="yes" passwd="${secret}"/>`;
    const domainXml = `<domain><os><type machine="q35">hvm</type></os><devices>${graphics}<video><model type="vga"/></video></devices></domain>`;
    const { vmId } = await plane.succeed<{ vmId: string }>("vm.create", {
      request: { name: "sealed", host: "h1", memory: { sizeMiB: 64 }, domainXml },
    });
    const xml = await definitionOf(plane, "sealed");
    assert.ok(!xml.includes(secret));
    const edited = xml.replace("<on_crash>destroy<", "<on_crash>restart<");
    await plane.succeed("vm.edit", { vmId, request: { domainXml: edited } });
    const forged = edited.replace("<graphics type='vnc'", "$& passwd='other'");
    await refuse("vm.edit", { vmId, request: { domainXml: forged } }, /has a console's password/);
    const { stdout } = await lab.host("h1").exec(["virsh", "dumpxml", "--inactive", "--security-info", "sealed"]);
    assert.match(stdout, new RegExp(`passwd='${secret}'`));
    const files = await readdir(folder, { withFileTypes: true, recursive: true });
    const names = files.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
    assert.ok(
      names.some((name) => name.endsWith("-wal")),
      String(names),
    );
    for (const name of names) {
      const bytes = await readFile(name);
      for (const form of [secret, Buffer.from(secret).toString("base64").replace(/=*$/, "")]) {
        assert.ok(!bytes.includes(form), `the password is in ${name}`);
      }
    }
    await remove("sealed");
  });

  test("change: live what can be, the rest at the next start; disks and cards come and go", async () => {
    const vmId = await makeVm(plane, "change", { start: true });
    const result = await plane.succeed<{ applied: string[]; pending: string[] }>("vm.change", {
      vmId,
      request: {
        description: "changed",
        tags: ["a", "b"],
        memory: { balloonMiB: 80 },
        cpu: { count: 2 },
        disksAdd: [{ capacityBytes: 1 << 24, pool: "local" }],
        nicsAdd: [{ network: "default" }],
      },
    });
    assert(result.applied.some((field) => field.startsWith("disks")));
    assert(
      result.pending.some((field) => field.startsWith("cpu")),
      JSON.stringify(result),
    );
    const vm = plane.vm("change");
    assert.deepEqual([vm.description, vm.tags, vm.spec.nics.length], ["changed", ["a", "b"], 2]);
    const added = vm.spec.disks.find((disk) => disk.target === "vdb");
    assert(added?.source !== undefined);
    const disksChange = [{ target: "vdb", capacityBytes: 1 << 25 }];
    await plane.succeed("vm.change", { vmId, request: { disksChange } });
    const shrink = { disksChange: [{ target: "vdb", capacityBytes: 1 << 20 }] };
    await refuse("vm.change", { vmId, request: shrink }, /disks only grow/);
    await refuse(
      "vm.change",
      { vmId, request: { disksRemove: [{ target: "vdz" }] } },
      /disksRemove\[0\].target.*no disk vdz|no disk vdz/,
    );
    const removed = {
      disksRemove: [{ target: "vdb", deleteVolume: true }],
      nicsRemove: [{ mac: vm.spec.nics[1]?.mac }],
    };
    {
      await using serial = await consoleOf("change");
      await serial.expect(/INNKEEPER-GUEST READY/);
    }
    const gone = await plane.succeed<{ deletedVolumes: string[] }>("vm.change", { vmId, request: removed });
    assert.deepEqual(gone.deletedVolumes, [added.source]);
    assert.equal(plane.vm("change").spec.nics.length, 1);
    await assertNoOrphans();
    const before = plane.vm("change");
    const state = await labState(lab);
    trap.set("change", fail, "after");
    const undone = await plane.run("vm.change", {
      vmId,
      request: {
        description: "never",
        autostart: true,
        disksAdd: [{ capacityBytes: 1 << 24 }],
        nicsAdd: [{ network: "default" }],
      },
    });
    assert.equal(undone.state, "failed");
    assert.deepEqual(await labState(lab), state);
    // The balloon follows the guest at its own pace.
    const { balloonMiB } = plane.vm("change").spec.memory;
    const memory = { ...before.spec.memory, ...(balloonMiB === undefined ? {} : { balloonMiB }) };
    assert.deepEqual(plane.vm("change").spec, { ...before.spec, memory });
    assert.equal(plane.vm("change").description, "changed");
    await remove("change");
  });

  test("clones: own identity, own disks; what they lie on can't be deleted", async () => {
    const vmId = await makeVm(plane, "origin", { start: true });
    const linked = await plane.succeed<{ baseSnapshotId: string }>("vm.clone", {
      vmId,
      request: { name: "linked", linked: true, start: true },
    });
    await plane.succeed("vm.clone", { vmId, request: { name: "full" } });
    const [origin, link, full] = ["origin", "linked", "full"].map((name) => plane.vm(name));
    assert(origin !== undefined && link !== undefined && full !== undefined);
    assert.equal(new Set([origin, link, full].map((vm) => vm.uuid)).size, 3);
    assert.equal(new Set([origin, link, full].flatMap((vm) => vm.spec.nics.map((nic) => nic.mac))).size, 3);
    assert.equal(link.state, "running");
    const base = plane.inventory.require("snapshot", linked.baseSnapshotId);
    assert.equal(link.spec.disks[0]?.backingChain?.[0], base.disks[0]?.path);
    assert.deepEqual(full.spec.disks[0]?.backingChain ?? [], []);
    assert.deepEqual(origin.spec.disks[0]?.backingChain?.[0], base.disks[0]?.path);
    await refuse("vm.delete", { vmId, deleteDisks: true, force: true }, /used by VM linked/);
    await refuse("vm.clone", { vmId, request: { name: "full" } }, /already a VM "full"/);
    await refuse("vm.clone", { vmId, request: { name: "new", snapshot: "nope" } }, /no snapshot "nope"/);
    const kept = await plane.succeed<{ keptVolumes: { path: string }[] }>("vm.delete", { vmId: full.id });
    assert.deepEqual(
      kept.keptVolumes.map((each) => each.path),
      [full.spec.disks[0]?.source],
    );
    const adopted = {
      name: "again",
      host: "h1",
      memory: { sizeMiB: 96 },
      disks: [{ path: full.spec.disks[0]?.source }],
    };
    await plane.succeed("vm.create", { request: adopted });
    await remove("linked", "again", "origin");
  });

  test("migration: a counter in the guest goes on; figures are told; cold with its disk", async () => {
    const vmId = await makeVm(plane, "mover", { start: true });
    {
      await using serial = await consoleOf("mover");
      await serial.expect(/INNKEEPER-GUEST READY/);
      await serial.run("(i=0; while :; do i=$((i+1)); echo $i > /tmp/counter; sleep 0.1; done > /dev/null 2>&1 &)");
    }
    await refuse("vm.migrate", { vmId, request: { host: "h1" } }, /is on host h1 already/);
    await refuse("vm.migrate", { vmId, request: { host: "h7" } }, /no host "h7"/);
    const moved = await plane.succeed<{ downtimeMs: number; totalMs: number; live: boolean }>("vm.migrate", {
      vmId,
      request: { host: "h2" },
    });
    assert(moved.live && moved.totalMs > 0 && moved.downtimeMs > 0 && moved.downtimeMs < moved.totalMs);
    assert.equal(plane.vm("mover").hostId, plane.host("h2").id);
    assert.equal(plane.vm("mover").id, vmId);
    {
      await using serial = await consoleOf("mover");
      await serial.send("");
      const counted = Number(await serial.run("cat /tmp/counter"));
      await serial.run("sleep 1");
      assert(Number(await serial.run("cat /tmp/counter")) > counted && counted > 0);
    }
    await assertNoOrphans();
    const disks = [{ capacityBytes: 1 << 24, pool: "local" }];
    const cold = await makeVm(plane, "cold", { disks });
    await refuse(
      "vm.migrate",
      { vmId: cold, request: { host: "h2" } },
      /copyDisks.*does not reach it|does not reach it/,
    );
    await plane.succeed("vm.migrate", { vmId: cold, request: { host: "h2", copyDisks: true } });
    assert.equal(plane.vm("cold").hostId, plane.host("h2").id);
    await plane.succeed("vm.start", { vmId: cold });
    await plane.succeed("vm.migrate", { vmId: cold, request: { host: "h1", copyDisks: true } });
    assert.equal(plane.vm("cold").state, "running");
    await remove("mover", "cold");
  });

  test("a migration that is cancelled leaves the guest where it was, running", async () => {
    const vmId = await makeVm(plane, "stayer", { start: true });
    const before = await labState(lab);
    const input = { vmId, request: { host: "h2", bandwidthMiBps: 4 } };
    const { id } = await plane.engine.submit("vm.migrate", input, { userName: "tester" });
    const isMoving = (): boolean => plane.inventory.require("task", id).progress.unit === "byte";
    await plane.until("bytes that are moved", () => isMoving() || undefined, 60_000);
    await plane.engine.cancel(id);
    const task = await plane.engine.wait(id, 60_000);
    assert.equal(task.state, "cancelled", task.error?.detail ?? "");
    assert.deepEqual(await labState(lab), before);
    assert.equal(plane.vm("stayer").hostId, plane.host("h1").id);
    await plane.succeed("vm.migrate", { vmId, request: { host: "h2" } });
    await remove("stayer");
  });

  test("undone: each operation that fails leaves what was before", async () => {
    const vmId = await makeVm(plane, "undone", { start: true });
    const cases: readonly [operation: string, input: unknown, step: string][] = [
      [
        "vm.create",
        { request: { name: "new", memory: { sizeMiB: 96 }, disks: [{ capacityBytes: 1 << 24 }], start: true } },
        "start",
      ],
      ["vm.clone", { vmId, request: { name: "new", linked: true, start: true } }, "start"],
      ["vm.clone", { vmId, request: { name: "new" } }, "define"],
      ["snapshot.create", { vmId, request: { name: "s", memory: true } }, "record"],
    ];
    for (const [operation, input, step] of cases) {
      const before = await labState(lab);
      trap.set(step, fail, "after");
      const task = await plane.run(operation, input);
      assert.equal(task.state, "failed", operation);
      assert.deepEqual(await labState(lab), before, operation);
      await assertNoOrphans();
      assert.deepEqual(plane.inventory.list("snapshot"), []);
    }
    await remove("undone");
  });
});

function fail(): never {
  throw new Error("failed by the test");
}

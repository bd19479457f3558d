/**
 * VMs that others made, on a real host: adopted without a change of a byte, shown as they are, and every operation on
 * every oddity either works or is refused with a reason before anything is touched. See test-support/foreign-vm.ts.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { AppError } from "#core/app-error.ts";
import { canonicalXml } from "#virtualization/driver/libvirt/domain-xml/canonical.ts";
import { ControlPlane, labAccess } from "./test-support/control-plane.ts";
import {
  type Expected,
  type ForeignVm,
  foreignVms,
  imageFolder,
  makeScript,
  nvramFolder,
  works,
} from "./test-support/foreign-vm.ts";

const execute = promisify(execFile);
const timeout = 600_000;

describe("VMs that others made", () => {
  let lab: Lab;
  let host: LabHost;
  let folder: string;
  let plane: ControlPlane;
  let loop: string;
  const loopFile = path.join(tmpdir(), `inn-foreign-loop-${process.pid}`);

  before(async () => {
    lab = await Lab.up({ name: `foreign-${process.pid}`, hostCount: 2 });
    host = lab.host("h1");
    folder = await mkdtemp(path.join(tmpdir(), "inn-foreign-"));
    await execute("truncate", ["-s", "8M", loopFile]);
    loop = (await execute("losetup", ["--find", "--show", loopFile])).stdout.trim();
    plane = await ControlPlane.open({ folder, access: await labAccess(lab) });
  });

  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await lab?.down();
    if (loop !== undefined) await execute("losetup", ["--detach", loop]);
    await rm(loopFile, { force: true });
    await rm(folder, { recursive: true, force: true });
  });

  const sh = async (script: string): Promise<string> => (await host.exec(["sh", "-c", script])).stdout;
  const definition = (name: string): Promise<string> => sh(`virsh dumpxml --inactive --security-info ${name}`);
  const files = async (): Promise<readonly string[]> =>
    (await sh(`find ${imageFolder} -type f -printf '%f\n'`)).trim().split("\n");
  const sync = (): Promise<void> =>
    plane.deps.hostSync.syncHost(plane.host("h1").id, { signal: AbortSignal.timeout(60_000) });

  /** `works`, or the words of the refusal or failure. */
  async function attempt(operation: string, input: unknown): Promise<string> {
    try {
      const task = await plane.run(operation, input);
      return task.state === "succeeded" ? works : `${task.state}: ${task.error?.detail}`;
    } catch (error) {
      if (error instanceof AppError) return error.message;
      throw error;
    }
  }

  /** All domains, their definitions as libvirt keeps them, their snapshots, and all files of the host. */
  async function world(): Promise<string> {
    return await sh(`virsh -q list --all; tail -n +1 /etc/libvirt/qemu/*.xml; find ${imageFolder} -printf '%p %s\n' | sort
      find /var/lib/libvirt/qemu/snapshot -name '*.xml' -exec cat {} +
      find /var/lib/libvirt/qemu/save ${nvramFolder} -type f -exec sha256sum {} + | sort`);
  }

  async function expectOutcome(what: string, expected: Expected, operation: string, input: unknown): Promise<boolean> {
    const before = expected === works ? undefined : await world();
    const said = await attempt(operation, input);
    if (expected === works) assert.equal(said, works, what);
    else {
      assert.match(said, expected, what);
      assert.deepEqual(await world(), before, `${what}: was refused, but something changed`);
    }
    return said === works;
  }

  test(
    "are adopted, read again and again, and kept over a restart of the control plane: no byte differs",
    { timeout },
    async () => {
      for (const vm of foreignVms(loop)) await sh(makeScript(vm));
      const before = await world();
      await sync();
      for (const vm of foreignVms(loop)) {
        const { spec, managed, description } = plane.vm(vm.name);
        assert.equal(managed, false);
        assert.equal(description, "made by hand");
        if (vm.shows !== undefined) assert.match(JSON.stringify(spec), vm.shows, vm.name);
      }
      await sync();
      await plane[Symbol.asyncDispose]();
      plane = await ControlPlane.open({ folder, access: await labAccess(lab) });
      await sync();
      assert.deepEqual(await world(), before);
    },
  );

  for (const [index, { name }] of foreignVms("/dev/loop").entries()) {
    test(`${name}: each operation works, or is refused with nothing touched`, { timeout }, async () => {
      const vm = foreignVms(loop)[index];
      assert(vm !== undefined);
      if (vm.saved !== undefined) await checkSaved(vm.name, vm.saved);
      await checkChange(vm);
      await checkOperations(vm);
    });
  }

  /** Nothing that its saved memory would not fit is done; it starts with it. */
  async function checkSaved(name: string, words: RegExp): Promise<void> {
    const { id: vmId, state, stateDetail } = plane.vm(name);
    assert.deepEqual([state, stateDetail], ["shutoff", "saved"]);
    for (const [operation, request] of [
      ["vm.change", { memory: { limitMiB: 4096 } }],
      ["snapshot.create", { name: "s" }],
      ["vm.clone", { name: `${name}-linked`, linked: true }],
      ["vm.rename", { name: `${name}-2` }],
      ["vm.delete", undefined],
    ] as const) {
      const input = { vmId, ...(request === undefined ? {} : { request }) };
      await expectOutcome(`${name}: ${operation}`, words, operation, input);
    }
    await expectOutcome(`${name}: start`, works, "vm.start", { vmId });
    assert.equal((await sh(`virsh domstate --reason ${name}`)).trim(), "running (restored)");
    await expectOutcome(`${name}: off`, works, "vm.force-off", { vmId });
  }

  /** The definition after a change differs in the changed field alone, and in our own facts. */
  async function checkChange({ name }: ForeignVm): Promise<void> {
    const before = await definition(name);
    const vmId = plane.vm(name).id;
    assert.equal(await attempt("vm.change", { vmId, request: { memory: { limitMiB: 4096 } } }), works, name);
    const limit = /\s*<memtune>\s*<hard_limit unit='KiB'>4194304<\/hard_limit>\s*<\/memtune>/;
    const own = /\s*<innkeeper:vm [\s\S]*?(?:\/>|<\/innkeeper:vm>)/;
    const changed = await definition(name);
    assert.match(changed, limit);
    assert.equal(canonicalXml(changed.replace(limit, "").replace(own, "")), canonicalXml(before), name);
    assert.equal(await attempt("vm.change", { vmId, request: { memory: { limitMiB: 0 } } }), works, name);
  }

  async function checkOperations(vm: ForeignVm): Promise<void> {
    const vmId = plane.vm(vm.name).id;
    const { snapshot = works, clone = works, rename = works } = vm;
    const started = await expectOutcome(`${vm.name}: start`, vm.start ?? works, "vm.start", { vmId });
    if (started) {
      const request = { name: "with-memory", memory: true };
      const taken = await expectOutcome(`${vm.name}: memory`, vm.memorySnapshot ?? works, "snapshot.create", {
        vmId,
        request,
      });
      if (taken) await expectOutcome(`${vm.name}: drop`, works, "snapshot.delete", { snapshotId: snapshotOf(vmId) });
      await expectOutcome(`${vm.name}: off`, works, "vm.force-off", { vmId });
    }
    const linked = { vmId, request: { name: `${vm.name}-linked`, linked: true } };
    if (await expectOutcome(`${vm.name}: linked`, vm.linkedClone ?? snapshot, "vm.clone", linked)) {
      const cloneId = plane.vm(`${vm.name}-linked`).id;
      if (started) await expectStart(`${vm.name}: linked clone`, cloneId);
      // What lies on its disks keeps them.
      await expectOutcome(`${vm.name}: delete under a clone`, /are used by/, "vm.delete", { vmId, deleteDisks: true });
      await expectOutcome(`${vm.name}: delete`, works, "vm.delete", { vmId: cloneId, deleteDisks: true });
    } else if (
      await expectOutcome(`${vm.name}: snapshot`, snapshot, "snapshot.create", { vmId, request: { name: "s" } })
    ) {
      if (started)
        await expectOutcome(`${vm.name}: revert`, works, "snapshot.revert", { snapshotId: snapshotOf(vmId) });
    }
    const request = { name: `${vm.name}-clone` };
    if (await expectOutcome(`${vm.name}: clone`, clone, "vm.clone", { vmId, request })) {
      const cloneId = plane.vm(request.name).id;
      if (vm.variables !== undefined) {
        const own = `${nvramFolder}/${request.name}_VARS.fd`;
        await sh(`cmp ${vm.variables} ${own}`);
      }
      if (started) await expectStart(`${vm.name}: clone`, cloneId);
      await expectOutcome(`${vm.name}: delete clone`, works, "vm.delete", { vmId: cloneId, deleteDisks: true });
    }
    // Its disks are on this host alone; what ties a VM to its host besides is told by the pre-flight's own tests.
    const migrate = vm.migrate ?? /can't move to host h2\. .*host h2 does not reach it/;
    await expectOutcome(`${vm.name}: migrate`, migrate, "vm.migrate", { vmId, request: { host: "h2" } });
    await expectOutcome(`${vm.name}: rename`, rename, "vm.rename", { vmId, request: { name: `${vm.name}-2` } });
    if (!(await expectOutcome(`${vm.name}: delete`, vm.delete ?? works, "vm.delete", { vmId, deleteDisks: true })))
      return;
    const left = (await files()).filter((file) => file.startsWith(vm.name) || vm.stays?.includes(file) === true);
    assert.deepEqual(left.toSorted(), (vm.stays ?? []).toSorted(), vm.name);
    if (vm.sharesVariables === true) await sh(`test -s ${vm.variables}`);
    assert.equal(await sh(`find ${nvramFolder} -name '${vm.name}*'`), "", vm.name);
  }

  async function expectStart(what: string, vmId: string): Promise<void> {
    await expectOutcome(`${what} starts`, works, "vm.start", { vmId });
    await expectOutcome(`${what} off`, works, "vm.force-off", { vmId });
  }

  function snapshotOf(vmId: string): string {
    return plane.inventory.by("snapshot", "vmId", vmId)[0]?.id ?? "";
  }
});

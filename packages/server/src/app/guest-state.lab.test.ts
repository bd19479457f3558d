/**
 * Firmware variables and TPM state on real hosts, seen in their folders: they stay where a VM leaves without its disks, are
 * not taken over by another, and after a migration are on one host alone, unless the hosts share the folder.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { cleanLeftovers, type Leftover, rememberLeftover } from "#management/vm/migration-leftover.ts";
import { ControlPlane, labAccess } from "./test-support/control-plane.ts";
import { addImage, makeVm } from "./test-support/lab-vm.ts";
import { StepTrap } from "./test-support/step-trap.ts";

const nvramFolder = "/var/lib/libvirt/qemu/nvram";
const variables = (name: string): string => `${nvramFolder}/${name}_VARS.fd`;
const tpmState = (uuid: string): string => `/var/lib/libvirt/swtpm/${uuid}/tpm2/tpm2-00.permall`;

describe("firmware variables and TPM state", { timeout: 600_000 }, () => {
  let lab: Lab;
  let plane: ControlPlane;
  const trap = new StepTrap();

  before(async () => {
    lab = await Lab.up({ name: `gstate-${process.pid}`, hostCount: 2 });
    plane = await ControlPlane.open({ access: await labAccess(lab), onStepBoundary: trap.onStepBoundary });
    await addImage(lab, plane);
  });
  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  const sh = async (host: string, script: string): Promise<string> =>
    (await lab.host(host).exec(["sh", "-c", script])).stdout.trim();
  const has = async (host: string, file: string): Promise<boolean> =>
    (await sh(host, `test -e '${file}' && echo there || true`)) === "there";
  const sum = (host: string, file: string): Promise<string> => sh(host, `sha256sum < '${file}'`);

  async function makeStarted(name: string, more: object): Promise<{ vmId: string; uuid: string }> {
    const vmId = await makeVm(plane, name, { memory: { sizeMiB: 128 }, firmware: "uefi", start: true, ...more });
    return { vmId, uuid: plane.vm(name).uuid };
  }

  test("a VM that is deleted without its disks leaves both, and nobody takes them over", async () => {
    const { vmId, uuid } = await makeStarted("kept", { tpm: true });
    await plane.succeed("vm.force-off", { vmId });
    const files = [variables("kept"), tpmState(uuid)];
    const read = (): Promise<string[]> => Promise.all(files.map((file) => sum("h1", file)));
    const before = await read();
    const { keptVolumes } = await plane.succeed<{ keptVolumes: { path: string }[] }>("vm.delete", { vmId });
    for (const file of files) {
      assert(await has("h1", file), file);
      assert(
        keptVolumes.some(({ path }) => path === file),
        JSON.stringify(keptVolumes),
      );
    }
    assert.deepEqual(await read(), before);
    const request = { host: "h1", memory: { sizeMiB: 128 }, firmware: "uefi" };
    for (const [change, field] of [
      [{ name: "kept" }, "name"],
      [{ name: "another", uuid, tpm: true }, "uuid"],
    ] as const) {
      const task = await plane.run("vm.create", { request: { ...request, ...change } });
      assert.deepEqual([task.error?.code, task.error?.field], ["conflict", field], task.error?.detail ?? "");
    }
    assert.deepEqual(await read(), before);
    // What the refusal advises.
    await sh("h1", `mv ${variables("kept")} /run/kept.fd`);
    const again = await plane.succeed<{ vmId: string }>("vm.create", {
      request: { ...request, name: "kept", uuid, tpm: false },
    });
    await sh("h1", `mv /run/kept.fd ${variables("kept")}`);
    await plane.succeed("vm.start", { vmId: again.vmId });
    await plane.succeed("vm.delete", { vmId: again.vmId, deleteDisks: true, force: true });
    assert.equal(await has("h1", variables("kept")), false);
    assert.equal(await sh("h1", "virsh -q pool-list --all --name | grep innkeeper || true"), "");
  });

  test("a migration leaves none on the host that it comes from", async () => {
    const { vmId, uuid } = await makeStarted("mover", { tpm: true });
    const files = [variables("mover"), tpmState(uuid)];
    const on = async (host: string): Promise<boolean[]> => Promise.all(files.map((file) => has(host, file)));
    await move("mover", "h1", "h2");
    assert.deepEqual([await on("h1"), await on("h2")], [[false, false], [true, true]]); // prettier-ignore
    await plane.succeed("vm.force-off", { vmId });
    await move("mover", "h2", "h1");
    assert.deepEqual([await on("h1"), await on("h2")], [[true, true], [false, false]]); // prettier-ignore
    await leaveDead("mover", "h2", { stateFiles: files });
    assert.deepEqual([await on("h1"), await on("h2")], [[true, true], [false, false]]); // prettier-ignore
    await plane.succeed("vm.delete", { vmId, deleteDisks: true });
    assert.deepEqual(await on("h1"), [false, false]);
  });

  test("a migration between hosts that share the folder leaves them, and no mark", async () => {
    for (const { name } of lab.hosts) {
      await sh(name, `mkdir -p ${lab.sharedFolder}/nvram && mount --bind ${lab.sharedFolder}/nvram ${nvramFolder}`);
    }
    const { vmId } = await makeStarted("sharer", {});
    await move("sharer", "h1", "h2");
    assert(await has("h2", variables("sharer")));
    await plane.succeed("vm.force-off", { vmId });
    const before = await sum("h2", variables("sharer"));
    await move("sharer", "h2", "h1");
    await leaveDead("sharer", "h2", { keepsState: true });
    assert.equal(await sum("h1", variables("sharer")), before);
    assert.equal(await sh("h1", `ls ${nvramFolder}`), "sharer_VARS.fd");
    await plane.succeed("vm.delete", { vmId, deleteDisks: true });
    assert.equal(await sh("h1", `ls ${nvramFolder}`), "");
  });

  /** With a definition that the source's libvirt has kept, or got again, at the moment when the VM has moved. */
  async function move(name: string, from: string, to: string): Promise<void> {
    await sh(from, `virsh dumpxml --inactive ${name} > /run/dead.xml`);
    trap.set("finish", () => sh(from, "virsh -q define /run/dead.xml").then(() => undefined));
    await plane.succeed("vm.migrate", { vmId: plane.vm(name).id, request: { host: to } });
    assert.equal(trap.isSet, false);
    assert.doesNotMatch(await sh(from, "virsh -q list --all --name"), new RegExp(`^${name}$`, "m"));
  }

  /** What a host that could not be asked has kept of a VM that is elsewhere, removed when it is back. */
  async function leaveDead(name: string, host: string, more: Partial<Leftover>): Promise<void> {
    const { id: vmId, uuid } = plane.vm(name);
    const dead = { hostId: plane.host(host).id, vmId, vmName: name, uuid };
    const rest = { copies: [], copiedPaths: [], stateFiles: [], autostart: false, ...more };
    await sh(host, "virsh -q define /run/dead.xml");
    for (const file of more.stateFiles ?? []) await sh(host, `mkdir -p $(dirname ${file}) && echo dead > ${file}`);
    await rememberLeftover(plane.deps, { ...dead, ...rest });
    await cleanLeftovers(plane.deps, { signal: AbortSignal.timeout(60_000) });
    assert.doesNotMatch(await sh(host, "virsh -q list --all --name"), new RegExp(`^${name}$`, "m"));
  }
});

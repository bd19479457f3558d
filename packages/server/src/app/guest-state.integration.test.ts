/**
 * What a host keeps of VMs beside their definitions (firmware variables, TPM state), on a simulated host: a new VM takes
 * over nothing that is there already, and a VM that is deleted without its disks names what stays, and only that.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { VIR_DOMAIN_UNDEFINE_KEEP_NVRAM } from "@innkeeper/libvirt";
import { newImage } from "@innkeeper/sim/host/file/image.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { type ManagedSimHost, managedSimHost } from "./test-support/managed-sim-host.ts";

const mib = 1 << 20;
const variables = (name: string): string => `/var/lib/libvirt/qemu/nvram/${name}_VARS.fd`;
const images = "/var/lib/libvirt/images";

/** Of a VM with firmware variables. */
const request = (name: string, more: object = {}) => ({
  name,
  firmware: "uefi",
  memory: { sizeMiB: 128 },
  disks: [{ capacityBytes: 16 * mib, pool: "local" }],
  ...more,
});

describe("what a host keeps of VMs beside their definitions", { timeout: 120_000 }, () => {
  let managed: ManagedSimHost;

  before(async () => {
    managed = await managedSimHost({ timing: { startMs: 0, bootMs: 0, shutdownMs: 0 } });
  });
  afterEach(() => managed.trap.clear());
  after(() => managed?.[Symbol.asyncDispose]());

  const make = async (name: string): Promise<string> =>
    (await managed.plane.succeed<{ vmId: string }>("vm.create", { request: request(name) })).vmId;
  const put = (file: string): void =>
    void managed.sim.host.files.createImage(file, { mode: 0o600, uid: 0, gid: 0 }, newImage("raw", 540_672));
  const domains = (): string[] => [...managed.sim.host.domains.all].map(({ name }) => name).toSorted();
  const volumes = (): string[] => [...managed.sim.host.files.folder(images).entries.keys()].toSorted();

  /** The plan says no, or else the step before which the file came: nothing is left, and the file is as it was. */
  async function refused(operation: string, input: unknown, file: string, field: string): Promise<void> {
    const { sim, plane } = managed;
    const before = { file: sim.host.files.find(file), domains: domains(), volumes: volumes() };
    const task: Task = await plane.run(operation, input);
    assert.deepEqual([task.state, task.error?.code, task.error?.field], ["failed", "conflict", field], file);
    assert.match(task.error?.detail ?? "", /belongs?, is there already.*Nothing was changed/);
    assert.match(task.error?.remedy ?? "", /move the file to another folder/);
    assert.equal(task.unfinished, undefined);
    const now = sim.host.files.find(file);
    assert.ok(now !== undefined && now === (before.file ?? now), `${file} is gone or another`);
    assert.deepEqual([domains(), volumes()], [before.domains, before.volumes]);
  }

  test("a new VM does not take over variables that a deleted one left, nor does a clone or a VM that is renamed", async () => {
    const vmId = await make("source");
    put(variables("left"));
    await refused("vm.create", { request: request("left") }, variables("left"), "name");
    const { firmware: _, ...plain } = request("left");
    // As `inn virt-install --boot uefi` asks for it.
    const domainXml = `<domain><os firmware="efi"><type machine="q35">hvm</type></os><devices><disk device="disk"><target dev="vda" bus="virtio"/></disk></devices></domain>`;
    const disks = [{ capacityBytes: 16 * mib, pool: "local", target: "vda", bus: "virtio" }];
    await refused("vm.create", { request: { ...plain, disks, domainXml } }, variables("left"), "name");
    await refused("vm.clone", { vmId, request: { name: "left" } }, variables("left"), "name");
    await refused("vm.rename", { vmId, request: { name: "left" } }, variables("left"), "name");
    // Another firmware has none, and a VM whose variables are elsewhere takes them along.
    await managed.plane.succeed("vm.create", { request: request("left", { firmware: "bios" }) });
    await managed.plane.succeed("vm.rename", { vmId, request: { name: "source" } });
  });

  test("variables that come between the plan and the definition are not taken over, nor deleted by the undo", async () => {
    const vmId = await make("second");
    for (const [operation, input, name] of [
      ["vm.create", { request: request("between") }, "between"],
      ["vm.clone", { vmId, request: { name: "between-2" } }, "between-2"],
    ] as const) {
      managed.trap.set("define", () => put(variables(name)));
      await refused(operation, input, variables(name), "name");
    }
  });

  test("a new VM does not take over the state of a TPM that is kept under the UUID that was asked for", async () => {
    const uuid = crypto.randomUUID();
    const folder = `/var/lib/libvirt/swtpm/${uuid}/tpm2`;
    managed.sim.host.files.makeFolder(folder, { mode: 0o700, uid: 0, gid: 0 });
    put(`${folder}/tpm2-00.permall`);
    const input = { request: request("sealed", { uuid, tpm: true }) };
    await refused("vm.create", input, `${folder}/tpm2-00.permall`, "uuid");
    assert.equal(volumes().filter((name) => name.startsWith("innkeeper-")).length, 0);
  });

  test("a VM that is deleted without its disks names the variables that stay, also if the host's answer is lost", async () => {
    const { plane, virsh, trap, sim } = managed;
    const kept = async (vmId: string): Promise<string[]> => {
      const { keptVolumes } = await plane.succeed<{ keptVolumes: { path: string }[] }>("vm.delete", { vmId });
      return keptVolumes.map(({ path }) => path).filter((path) => !path.startsWith(images));
    };
    assert.deepEqual(await kept(await make("never-started")), []);
    const vmId = await make("started");
    put(variables("started"));
    trap.set("undefine", async () => {
      const { dom } = await virsh.remote.domainLookupByName({ name: "started" });
      await virsh.remote.domainUndefineFlags({ dom, flags: VIR_DOMAIN_UNDEFINE_KEEP_NVRAM });
    });
    assert.deepEqual(await kept(vmId), [variables("started")]);
    assert.ok(sim.host.files.find(variables("started")) !== undefined);
  });
});

/**
 * Snapshots that virsh made, chains made by hand and VMs made by virt-install and virt-manager, on a real host: seen as they are, used
 * through libvirt, refused where that would harm others.
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import { AppError } from "#core/app-error.ts";
import { ControlPlane, labAccess } from "./test-support/control-plane.ts";
import { disk, imageFolder, makeScript } from "./test-support/foreign-vm.ts";

const timeout = 600_000;
const osinfos = ["debian11", "rhel9.0", "fedora37", "win10", "freebsd13.1", "generic"];

/**
 * test-support/virt-manager: what virt-manager 4.1.0 itself made. Its "New VM" wizard ran under Xvfb on a host of the lab and
 * was led through "Import existing disk image" with an OS chosen and 256 MiB, all else as it proposes; then the XML is what
 * libvirt 9.0 had. virt-manager needs GTK and 40 packages more, so that its VMs are kept here.
 */
/** Fills 64 KiB of an image at that many MiB with the byte. */
function write(byte: number, file: string): string {
  return `qemu-io -f qcow2 -c 'write -P ${byte} ${byte}M 64k' $F/${file} >/dev/null`;
}

describe("snapshots and chains that others made", () => {
  let lab: Lab;
  let host: LabHost;
  let folder: string;
  let plane: ControlPlane;

  before(async () => {
    lab = await Lab.up({ name: `fsnap-${process.pid}`, hostCount: 1 });
    host = lab.host("h1");
    folder = await mkdtemp(path.join(tmpdir(), "inn-fsnap-"));
    plane = await ControlPlane.open({ folder, access: await labAccess(lab) });
  });

  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await lab?.down();
    await rm(folder, { recursive: true, force: true });
  });

  const sh = async (script: string): Promise<string> =>
    (await host.exec(["sh", "-c", `set -e; F=${imageFolder}; ${script}`])).stdout;
  const sync = (): Promise<void> =>
    plane.deps.hostSync.syncHost(plane.host("h1").id, { signal: AbortSignal.timeout(60_000) });
  const pools = (): Promise<string> => sh("virsh -q pool-refresh local");
  const named = (vm: string, name: string): Snapshot => {
    const found = snapshots(vm).find((each) => each.name === name);
    assert(found !== undefined, name);
    return found;
  };
  const snapshots = (vm: string): Snapshot[] => plane.inventory.by("snapshot", "vmId", plane.vm(vm).id);
  const state = async (name: string): Promise<string> => (await sh(`virsh domstate ${name}`)).trim();

  const world = (): Promise<string> =>
    sh(`virsh -q list --all; tail -n +1 /etc/libvirt/qemu/*.xml; find $F -printf '%p %s\\n' | sort
      find /var/lib/libvirt/qemu/snapshot -name '*.xml' -exec cat {} +`);

  /** The refusal's words; nothing on the host may have changed. */
  async function refused(operation: string, input: unknown): Promise<string> {
    const before = await world();
    const said = await plane.run(operation, input).then(
      (task) => (task.state === "succeeded" ? "" : (task.error?.detail ?? "")),
      (error: unknown) => {
        if (error instanceof AppError) return error.message;
        throw error;
      },
    );
    assert.notEqual(said, "", `${operation} was not refused`);
    assert.equal(await world(), before, `${operation} was refused, but something changed`);
    return said;
  }

  test("internal snapshots: listed as a tree, left alone, reverted to, deleted", { timeout }, async () => {
    await sh(makeScript({ name: "in" }));
    await sh(`virsh -q snapshot-create-as in first --description "before all"; virsh -q snapshot-create-as in second
      virsh -q snapshot-revert in first; virsh -q snapshot-create-as in sibling
      virsh -q start in; virsh -q snapshot-create-as in with-memory`);
    const dump = (): Promise<string> =>
      sh("for s in $(virsh -q snapshot-list in --name); do virsh snapshot-dumpxml in $s; done");
    const before = await dump();
    await sync();
    await sync();
    assert.equal(await dump(), before);
    const seen = snapshots("in").map(({ name, parentId, current, source, withMemory, vmState }) => ({
      name,
      parent: plane.inventory.get("snapshot", parentId ?? "")?.name ?? null,
      current,
      source,
      withMemory,
      vmState,
    }));
    const base = { source: "libvirt", current: false, withMemory: false, vmState: "shutoff" };
    assert.deepEqual(
      seen.toSorted((a, b) => a.name.localeCompare(b.name)),
      [
        { ...base, name: "first", parent: null },
        { ...base, name: "second", parent: "first" },
        { ...base, name: "sibling", parent: "first" },
        { ...base, name: "with-memory", parent: "sibling", current: true, withMemory: true, vmState: "running" },
      ],
    );
    assert.equal(named("in", "first").description, "before all");
    assert.deepEqual(named("in", "first").disks, [{ target: "vda", path: `${imageFolder}/in.qcow2`, format: "qcow2" }]);
    const vmId = plane.vm("in").id;
    assert.equal(plane.vm("in").foreignSnapshotCount, 4);

    assert.match(await refused("snapshot.create", { vmId, request: { name: "x" } }), /in libvirt's own keeping \(4\)/);
    assert.match(await refused("vm.clone", { vmId, request: { name: "y" } }), /in libvirt's own keeping/);
    await plane.succeed("vm.force-off", { vmId });
    assert.match(await refused("vm.clone", { vmId, request: { name: "y", linked: true } }), /in libvirt's own keeping/);
    const byName = { vmId, request: { name: "y", snapshot: "first" } };
    assert.match(await refused("vm.clone", byName), /which clones none/);
    assert.match(await refused("vm.delete", { vmId }), /would be lost while its disks stay/);
    await plane.succeed("vm.clone", { vmId, request: { name: "y" } });
    assert.equal((await sh("qemu-img snapshot -l $F/y-*.qcow2")).trim(), "");
    await plane.succeed("vm.delete", { vmId: plane.vm("y").id, deleteDisks: true });

    // Our own facts are not taken back by a revert, nor by a new name.
    await plane.succeed("vm.change", { vmId, request: { tags: ["kept"], description: "kept, too" } });
    await plane.succeed("vm.rename", { vmId, request: { name: "inside" } });
    await plane.succeed("snapshot.revert", { snapshotId: named("inside", "with-memory").id });
    assert.equal(await state("inside"), "running");
    assert.deepEqual(plane.vm("inside").tags, ["kept"]);
    assert.equal(plane.vm("inside").description, "kept, too");
    await plane.succeed("snapshot.revert", { snapshotId: named("inside", "second").id });
    assert.equal(await state("inside"), "shut off");
    assert.equal(named("inside", "second").current, true);
    assert.deepEqual(plane.vm("inside").tags, ["kept"]);

    // Another VM's disk lies on this one: what it reads must not change.
    await sh(
      `qemu-img create -q -f qcow2 -b in.qcow2 -F qcow2 $F/reader.qcow2; ${makeScript({ name: "reader", prepare: ":" })}`,
    );
    await sync();
    const readers = await refused("snapshot.revert", { snapshotId: named("inside", "first").id });
    assert.match(readers, /its disks are read by VM reader/);
    assert.match(await refused("vm.delete", { vmId, deleteDisks: true }), /are used by VM reader/);
    await plane.succeed("vm.delete", { vmId: plane.vm("reader").id, deleteDisks: true });

    await plane.succeed("snapshot.delete", { snapshotId: named("inside", "second").id });
    assert.deepEqual((await sh("virsh -q snapshot-list inside --name")).trim().split("\n").toSorted(), [
      "first",
      "sibling",
      "with-memory",
    ]);
    await plane.succeed("snapshot.delete", { snapshotId: named("inside", "first").id, children: true });
    assert.deepEqual(snapshots("inside"), []);
    await plane.succeed("snapshot.create", { vmId, request: { name: "ours at last" } });
    await plane.succeed("vm.delete", { vmId, deleteDisks: true });
    assert.equal((await sh("ls $F")).trim(), "");
  });

  test(
    "external snapshots: their layers are known, what this libvirt can't do is refused, nothing of others is deleted",
    { timeout },
    async () => {
      await sh(makeScript({ name: "ex" }));
      await sh(`${write(1, "ex.qcow2")}; virsh -q snapshot-create-as ex cold --disk-only
      ${write(2, "ex.cold")}; virsh -q start ex; virsh -q snapshot-create-as ex warm --disk-only
      virsh -q snapshot-create-as ex hot --memspec $F/ex.mem`);
      await sync();
      const vmId = plane.vm("ex").id;
      assert.deepEqual(named("ex", "cold").disks, [
        { target: "vda", path: `${imageFolder}/ex.qcow2`, format: "qcow2" },
      ]);
      assert.deepEqual(named("ex", "hot").disks[0]?.path, `${imageFolder}/ex.warm`);
      assert.equal(named("ex", "hot").memoryPath, `${imageFolder}/ex.mem`);
      assert.equal(named("ex", "hot").withMemory, true);

      const said = await refused("snapshot.revert", { snapshotId: named("ex", "cold").id });
      assert.match(said, /libvirt 9\.0\.0 on the host of VM ex can't revert to snapshot cold, .*; 9\.9 and newer can/);
      const volume = plane.inventory.list("volume").find((each) => each.name === "ex.qcow2");
      assert.match(await refused("vm.delete", { vmId, force: true }), /would be lost/);
      assert(volume !== undefined);

      await plane.succeed("snapshot.delete", { snapshotId: named("ex", "warm").id });
      assert.deepEqual((await sh("virsh -q snapshot-list ex --name")).trim().split("\n"), ["cold", "hot"]);
      await plane.succeed("snapshot.delete", { snapshotId: named("ex", "hot").id });
      // libvirt 9.0 leaves the saved memory behind.
      await plane.succeed("vm.force-off", { vmId });
      await plane.succeed("snapshot.delete", { snapshotId: named("ex", "cold").id });
      assert.equal((await sh("ls $F")).trim(), "ex.qcow2");
      await sh("qemu-io -f qcow2 -c 'read -P 1 1M 64k' -c 'read -P 2 2M 64k' $F/ex.qcow2");
      await sh("virsh -q snapshot-create-as ex again --disk-only");
      await sync();
      await plane.succeed("vm.delete", { vmId, deleteDisks: true });
      assert.equal((await sh("ls $F")).trim(), "");
    },
  );

  test(
    "chains made by hand: nobody's base is deleted, also where the layer above is out of every pool",
    { timeout },
    async () => {
      await sh(`mkdir -p /srv/by-hand; ${makeScript({ name: "base" })}`);
      await sh(`cd /srv/by-hand; qemu-img create -q -f qcow2 -b ../../var/lib/libvirt/images/base.qcow2 -F qcow2 top.qcow2
      ${makeScript({ name: "top", prepare: ":", devices: disk("x").replace(`${imageFolder}/x`, "/srv/by-hand/top.qcow2") })}`);
      await pools();
      await sync();
      const vmId = plane.vm("base").id;
      const hidden = await refused("vm.delete", { vmId, deleteDisks: true });
      assert.match(hidden, /VM top \(possibly: its disk \/srv\/by-hand\/top.qcow2 is in no storage pool/);
      assert.match(
        await refused("snapshot.create", { vmId: plane.vm("top").id, request: { name: "s" } }),
        /no storage pool/,
      );
      await sh("virsh -q pool-create-as by-hand dir --target /srv/by-hand");
      await sync();
      assert.match(await refused("vm.delete", { vmId, deleteDisks: true }), /are used by VM top\./);
      await plane.succeed("snapshot.create", { vmId: plane.vm("top").id, request: { name: "s" } });
      await plane.succeed("vm.delete", { vmId: plane.vm("top").id, deleteDisks: true });
      assert.equal((await sh("ls /srv/by-hand")).trim(), "");
      await plane.succeed("vm.delete", { vmId, deleteDisks: true });
      assert.equal((await sh("ls $F; virsh -q pool-destroy by-hand")).trim(), "");
    },
  );

  test("VMs of virt-install: adopted as they are, changed in one field, started, deleted", { timeout }, async () => {
    for (const osinfo of osinfos) {
      const name = `vi-${osinfo}`;
      await sh(`qemu-img create -q -f qcow2 $F/${name}.qcow2 8M
        virt-install --connect qemu:///system --virt-type qemu --name ${name} --osinfo ${osinfo} --memory 64 --import \\
          --disk path=$F/${name}.qcow2,format=qcow2 --network network=default --graphics spice --video qxl --sound ich9 \\
          --redirdev usb,type=spicevmc --check all=off --noautoconsole --print-xml > /run/vi.xml
        virsh -q define /run/vi.xml; virsh dumpxml --inactive --security-info ${name} > /run/vi.xml; virsh -q define /run/vi.xml`);
    }
    const dump = (): Promise<string> => sh("tail -n +1 /etc/libvirt/qemu/vi-*.xml");
    const before = await dump();
    await sync();
    assert.equal(await dump(), before);
    for (const osinfo of osinfos) {
      const vm = plane.vm(`vi-${osinfo}`);
      const { graphics, video, guestAgent, disks, nics, otherHardware = [] } = vm.spec;
      assert.deepEqual([graphics, video, disks.length, nics.length], ["spice", "qxl", 1, 1], osinfo);
      assert.equal(guestAgent, !["win10", "freebsd13.1", "generic"].includes(osinfo), osinfo);
      assert(
        otherHardware.some(({ kind, detail }) => kind === "redirdev" && detail === "usb spicevmc"),
        osinfo,
      );
      assert(
        otherHardware.some(({ kind, detail }) => kind === "sound" && detail === "ich9"),
        osinfo,
      );
      await plane.succeed("vm.change", { vmId: vm.id, request: { cpu: { shares: 2000 } } });
      await plane.succeed("snapshot.create", { vmId: vm.id, request: { name: "s" } });
      await plane.succeed("vm.start", { vmId: vm.id });
      assert.equal(await state(vm.name), "running", osinfo);
      await plane.succeed("vm.force-off", { vmId: vm.id });
      await plane.succeed("vm.delete", { vmId: vm.id, deleteDisks: true });
    }
    assert.equal((await sh("ls $F")).trim(), "");
  });

  test(
    "VMs of virt-manager: adopted as they are, changed, started, snapshotted, cloned, deleted",
    { timeout },
    async () => {
      for (const osinfo of ["debian11", "win11"]) {
        const name = `vmm-${osinfo}`;
        const xml = await readFile(
          path.join(import.meta.dirname, "test-support/virt-manager", `${osinfo}.xml`),
          "utf8",
        );
        await sh(`qemu-img create -q -f qcow2 $F/${name}.qcow2 64M; cat > /run/vmm.xml <<'XML'\n${xml}\nXML
        virsh -q define /run/vmm.xml`);
      }
      const dump = (): Promise<string> => sh("tail -n +1 /etc/libvirt/qemu/vmm-*.xml");
      const before = await dump();
      await sync();
      assert.equal(await dump(), before);
      for (const [osinfo, firmware, tpm, bus] of [
        ["debian11", "bios", false, "virtio"],
        ["win11", "uefi", true, "sata"],
      ] as const) {
        const { id: vmId, name, spec, managed } = plane.vm(`vmm-${osinfo}`);
        assert.deepEqual(
          [managed, spec.firmware, spec.tpm, spec.disks[0]?.bus, spec.graphics],
          [false, firmware, tpm, bus, "spice"],
        );
        const others = (spec.otherHardware ?? []).map(({ kind, detail }) => `${kind} ${detail}`);
        assert.deepEqual(others.filter((each) => each === "redirdev usb spicevmc").length, 2, others.join());
        await plane.succeed("vm.change", { vmId, request: { memory: { balloonMiB: 192 } } });
        await plane.succeed("vm.start", { vmId });
        await plane.succeed("snapshot.create", { vmId, request: { name: "running", memory: true } });
        await plane.succeed("vm.force-off", { vmId });
        await plane.succeed("snapshot.revert", { snapshotId: named(name, "running").id });
        assert.equal(await state(name), "running");
        await plane.succeed("vm.force-off", { vmId });
        const cloneId = (await plane.succeed<{ vmId: string }>("vm.clone", { vmId, request: { name: `${name}-2` } }))
          .vmId;
        await plane.succeed("vm.start", { vmId: cloneId });
        await plane.succeed("vm.delete", { vmId: cloneId, deleteDisks: true, force: true });
        await plane.succeed("vm.rename", { vmId, request: { name: `${name}-3` } });
        await plane.succeed("vm.start", { vmId });
        const after = await sh(`virsh dumpxml --inactive ${name}-3`);
        for (const part of ["<vmport state='off'/>", "http://libosinfo.org/", "<image compression='off'/>"]) {
          assert.equal(after.includes(part), before.includes(part), part);
        }
        await plane.succeed("vm.delete", { vmId, deleteDisks: true, force: true });
      }
      assert.equal((await sh("find $F /var/lib/libvirt/qemu/nvram /var/lib/libvirt/swtpm -type f || true")).trim(), "");
    },
  );
});

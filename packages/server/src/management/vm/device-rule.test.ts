/** What a disk or device forbids, as a table; app/foreign-vm.lab.test.ts tries the same on a real host. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { OtherHardware, VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { type DiskAct, refuseDisks, refuseUnsavable, whyDeviceKept, whyKept } from "./device-rule.ts";

const vm = { id: "vm-0123456789ab" as Vm["id"], name: "web" };
const plain: VmDisk = { target: "vda", device: "disk", bus: "virtio", sourceType: "file", source: "/v/a.qcow2" };

/** freeze, copy, grow, delete: whether it is refused. */
const table: readonly (readonly [string, Partial<VmDisk>, string])[] = [
  ["a file", {}, "----"],
  ["a device", { sourceType: "block", source: "/dev/sdx" }, "---d"],
  ["a device named as a file", { source: "/dev/sdx" }, "---d"],
  ["a volume that Innkeeper made", { sourceType: "block", source: "/dev/vg/web-0123456789ab-vda.img" }, "----"],
  ["another VM's volume", { sourceType: "block", source: "/dev/vg/web-ba9876543210-vda.img" }, "---d"],
  ["a LUN", { device: "lun", sourceType: "block", source: "/dev/sdx" }, "fcgd"],
  ["a shared disk", { shareable: true }, "f-gd"],
  ["a transient disk", { transient: true }, "f-g-"],
  ["an encrypted disk", { encryption: "luks" }, "fcg-"],
  ["a network disk", { sourceType: "network", source: "rbd://a/b" }, "fcgd"],
  ["a volume by name", { sourceType: "volume", source: "p/v" }, "fcgd"],
  ["an NVMe disk", { sourceType: "nvme" }, "fcgd"],
  ["a vhost-user disk", { sourceType: "vhostuser", source: "/v/socket" }, "fcgd"],
  ["a folder", { sourceType: "dir", source: "/v/folder" }, "fcgd"],
  ["a disk that is only read", { readOnly: true }, "---d"],
];

suite("what a disk forbids", () => {
  for (const [title, change, expected] of table) {
    test(title, () => {
      const disk = { ...plain, ...change };
      const acts: readonly DiskAct[] = ["freeze", "copy", "grow"];
      const refused = acts.map((act) => {
        try {
          refuseDisks(vm, [disk], act, "be touched");
          return "-";
        } catch (error) {
          assert(error instanceof AppError && error.code === "unsupported" && error.remedy !== undefined);
          assert.match(error.message, /^VM web can't be touched: disk vda .* is .*\. Nothing was changed\.$/);
          return act.slice(0, 1);
        }
      });
      assert.equal([...refused, whyKept(vm, disk) === undefined ? "-" : "d"].join(""), expected);
    });
  }

  test("a layer below is kept by its path alone", () => {
    assert.equal(whyDeviceKept(vm, "/v/layer.qcow2"), undefined);
    assert.match(whyDeviceKept(vm, "/dev/vg/lv") ?? "", /block device/);
  });
});

function saveWith(...kinds: readonly string[]): void {
  const otherHardware: OtherHardware[] = kinds.map((kind) => ({ kind, detail: "x" }));
  refuseUnsavable({ name: "web", spec: { otherHardware } as Vm["spec"] }, "be saved");
}

test("memory is not saved with hardware whose state can't be", () => {
  saveWith();
  saveWith("watchdog", "sound", "constructor");
  for (const kind of ["hostdev", "filesystem", "shmem", "launchSecurity"]) {
    assert.throws(() => saveWith("sound", kind), new RegExp(`VM web can't be saved: ${kind} x is `));
  }
});

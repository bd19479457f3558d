/**
 * Nothing of virt-install is ignored: every option and sub-option that Debian's has is known here, supported or refused by
 * name; what we hold of operating systems is what libosinfo's database says; and the comparison itself finds differences.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { XmlElement } from "@innkeeper/cli/virt-install/element.ts";
import { deviceOptions } from "@innkeeper/cli/virt-install/option/device.ts";
import { domainOptions } from "@innkeeper/cli/virt-install/option/domain.ts";
import { guestOsTable } from "@innkeeper/cli/virt-install/os.ts";
import { applySubOptions, parseSubOptions } from "@innkeeper/cli/virt-install/sub-option.ts";
import { optionNames } from "@innkeeper/cli/virt-install/word.ts";
import { canonical } from "./canonical.ts";
import { ask, skip, skipSystems } from "./debian.ts";

suite("nothing of virt-install is ignored", { skip }, () => {
  test("every option is known, every sub-option is supported or refused by name", async () => {
    const theirs = await ask<Record<string, string[] | null>>(["options"]);
    assert.ok(Object.keys(theirs).length > 100);
    let count = 0;
    for (const [option, names] of Object.entries(theirs)) {
      assert.ok(optionNames.includes(option), `${option} is not known`);
      const long = option.replace("--host-device", "--hostdev").replace("--soundhw", "--sound");
      const definition = deviceOptions[long] ?? domainOptions[long];
      if (names === null || definition === undefined || definition.refused !== undefined) continue;
      for (const name of names) {
        const typed = name.replaceAll("[0-9]*", "0");
        if (typed.startsWith("xpath")) continue;
        // An unknown name throws; what is refused says so when it is applied.
        const given = parseSubOptions(long, `${typed}=1`, definition.table, []);
        assert.ok(given.has(typed), `${long} ${typed}`);
        count++;
        try {
          applySubOptions(long, new XmlElement("x"), given, definition.table);
        } catch (error) {
          assert.match(String(error), new RegExp(`${long} ${typed} is not supported: .{20}`));
        }
      }
    }
    assert.ok(count > 600, `only ${count} sub-options`);
  });

  test("what is held of operating systems is what libosinfo knows", { skip: skipSystems }, async () => {
    const systems = await ask<{ names: string[] }[]>(["systems"]);
    const theirs = new Map(systems.flatMap((os) => os.names.map((name) => [name, os])));
    const ours = guestOsTable();
    assert.ok(ours.length > 400);
    for (const os of ours) {
      const known = theirs.get(os.names[0] ?? "");
      assert.ok(known !== undefined, `${os.names[0]} is not in the database`);
      const id = os.id ?? null;
      assert.deepEqual({ ...os, id, names: os.names.toSorted() }, { ...known, names: known.names.toSorted() });
    }
  });
});

function domain(devices: string, rest = ""): string {
  return `<domain type="kvm"><memory>1024</memory>${rest}<devices>${devices}</devices></domain>`;
}

function disk(source: string, more = ""): string {
  const driver = `<driver name="qemu" type="qcow2"${more}/>`;
  return `<disk type="file" device="disk">${driver}${source}<target dev="vda" bus="virtio"/></disk>`;
}

suite("the comparison finds what differs", () => {
  const known = { words: ["52:54:00:00:00:01"], files: ["/pool/known.qcow2"] };
  const differing: readonly [string, string, string][] = [
    ["a device more", domain(""), domain('<rng model="virtio"/>')],
    ["another attribute", domain(disk("")), domain(disk("", ' cache="none"'))],
    [
      "another known file",
      domain(disk('<source file="/pool/known.qcow2"/>')),
      domain(disk('<source file="/pool/x.qcow2"/>')),
    ],
    ["another folder", domain(disk('<source file="/pool/x.qcow2"/>')), domain(disk('<source file="/other/x.qcow2"/>'))],
    ["another text", domain("", "<vcpu>1</vcpu>"), domain("", "<vcpu>2</vcpu>")],
    ["another size", domain(""), domain("").replace("<memory>", '<memory unit="MiB">')],
    [
      "a given MAC",
      domain('<interface><mac address="52:54:00:00:00:01"/></interface>'),
      domain('<interface><mac address="52:54:00:00:00:02"/></interface>'),
    ],
    [
      "boot order",
      domain("", '<os><boot dev="hd"/><boot dev="cdrom"/></os>'),
      domain("", '<os><boot dev="cdrom"/><boot dev="hd"/></os>'),
    ],
  ];
  for (const [what, left, right] of differing) {
    test(what, () => assert.notEqual(canonical(left, known), canonical(right, known)));
  }

  test("but not what means the same", () => {
    const left = domain(`${disk('<source file="/pool/a.qcow2"/>')}<rng model="virtio"/>`);
    const right = domain(`<rng model="virtio"/>${disk('<source file="/pool/b.qcow2"/>')}`);
    assert.equal(canonical(left, known), canonical(right, known));
  });
});

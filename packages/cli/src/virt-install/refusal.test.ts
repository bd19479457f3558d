/** What `inn virt-install` refuses: by name, with exit code 2 or 65, with what to do; and what it makes of the old forms. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { CliError } from "#cli-error.ts";
import { buildGuest } from "./build.ts";
import type { Guest } from "./guest.ts";
import type { HostFacts } from "./host-fact.ts";
import { resolveDisk, type Storage } from "./storage.ts";
import { chooseOs } from "./os-choice.ts";
import { splitWords } from "./sub-option.ts";
import { parseWords } from "./word.ts";
import { checkWords } from "./word-check.ts";

const facts: HostFacts = {
  architecture: "x86_64",
  kvm: true,
  q35: true,
  tpm: true,
  spice: false,
  qxl: false,
  virtioGpu: true,
  bochs: true,
};
const common = ["--name", "vm", "--memory", "1024", "--disk", "size=1", "--import", "--osinfo", "debian11"];

function build(...argv: readonly string[]): Guest {
  const words = parseWords(argv);
  return buildGuest(words, facts, chooseOs(words).os, "vm").guest;
}

/** Option, value, exit code, and what is said. */
const refused: readonly [option: string, value: string | undefined, exitCode: number, words: RegExp][] = [
  ["--location", "https://deb.debian.org/debian", 2, /--location is not supported.*--cdrom/],
  ["--initrd-inject", "preseed.cfg", 2, /--initrd-inject is not supported/],
  ["--unattended", undefined, 2, /--unattended is not supported.*cloud image/],
  ["--transient", undefined, 2, /--transient is not supported/],
  ["--paravirt", undefined, 2, /Xen/],
  ["--container", undefined, 2, /containers/],
  ["--reinstall", "web", 2, /--reinstall is not supported/],
  ["--sdl", undefined, 2, /--graphics vnc/],
  ["--hostdev", "pci_0000_06_00_0", 2, /--hostdev is not supported.*virsh edit/],
  ["--filesystem", "/srv,share", 2, /--filesystem is not supported.*folders/],
  ["--qemu-commandline", "-s", 2, /needs a value/],
  ["--qemu-commandline=-s", undefined, 2, /bypass every check/],
  ["--seclabel", "type=none", 2, /confined/],
  ["--shmem", "name=x", 2, /--shmem is not supported/],
  ["--resource", "/machine/x", 2, /control groups/],
  ["--idmap", "uid.start=0", 2, /containers/],
  ["--disk", "size=1,sourc.protocol=rbd", 2, /--disk has no "sourc.protocol".*source.protocol/s],
  ["--disk", "source.protocol=rbd,source.name=x", 2, /source\.name is not supported.*inn pool create/],
  ["--disk", "size=1,device=lun", 2, /device=lun is not supported/],
  ["--disk", "size=1,format=vmdk", 2, /raw or qcow2/],
  ["--disk", "size=many", 65, /size must be a number of GiB/],
  ["--disk", "web.img,size=1", 2, /neither a path on a host nor a volume/],
  ["--disk", "cache=none", 2, /says neither what it is nor how large/],
  ["--network", "type=direct,source=eth0", 2, /type=direct is not supported.*bridge=NAME/],
  ["--network", "bridge=br0,modle=virtio", 2, /no "modle".*model/s],
  ["--serial", "tcp,host=0.0.0.0:2222", 2, /--serial host is not supported.*inn vm console/],
  ["--serial", "file,path=/tmp/log", 2, /--serial path is not supported.*volume/],
  ["--rng", "egd,backend_host=10.0.0.1", 2, /--rng backend_host is not supported/],
  ["--tpm", "/dev/tpm0", 2, /--tpm backend.device.path is not supported/],
  ["--boot", "kernel=/boot/vmlinuz", 2, /--boot kernel is not supported.*--cdrom/],
  ["--boot", "loader=/usr/share/OVMF/OVMF_CODE.fd", 2, /--boot uefi/],
  ["--boot", "init=/bin/sh", 2, /containers/],
  ["--sysinfo", "type=fwcfg,entry0.file=/etc/passwd", 2, /entry0.file is not supported/],
  ["--cpu", "host-model-only", 2, /Use host-model/],
  ["--cpu", "EPYC,secure=on", 2, /\+md-clear/],
  ["--graphics", "sdl", 2, /type=sdl is not supported/],
  ["--graphics", "vnc,port=80", 65, /5900 or more/],
  ["--arch", "aarch64", 2, /the hosts are x86_64/],
  ["--virt-type", "qemu", 2, /under KVM/],
  ["--vcpus", "0", 65, /above 0/],
  ["--vcpus", "4,sockets=3", 65, /is 3, but there are 4/],
  ["--memory", "2G", 65, /whole number/],
  ["--xml", "./name=other", 65, /decided by options of their own/],
  ["--xml", "./devices/disk[1]/source/@file=/etc/shadow", 65, /decided by/],
  ["--xml", "/domain[last()]=x", 65, /no path that can be used/],
  ["--grafics", "none", 2, /no option --grafics.*--graphics/s],
  ["--no", undefined, 2, /could be/],
  ["web", undefined, 2, /belongs to no option/],
];

suite("virt-install refuses by name", () => {
  for (const [option, value, exitCode, words] of refused) {
    test(`${option} ${value ?? ""}`, () => {
      // The common ones of the same name must not be in the way.
      const index = common.indexOf(option);
      const rest = index < 0 ? common : common.toSpliced(index, 2);
      assert.throws(
        () => build(...rest, option, ...(value === undefined ? [] : [value])),
        (error: unknown) => {
          assert.ok(error instanceof CliError, String(error));
          assert.match(`${error.message} ${error.detail.remedy ?? ""}`, words);
          assert.equal(error.detail.exitCode, exitCode);
          return true;
        },
      );
    });
  }

  test("options of which one would be ignored, and a guest without an installer", () => {
    const refusedWords: readonly [string, RegExp][] = [
      ["--cdrom x --import", /--import can't go with --cdrom/],
      ["--install bootdev=hd --cdrom x", /bootdev=hd can't go with --cdrom/],
      ["--install bootdev=network --cdrom x", /bootdev=network can't go with --cdrom/],
      ["--livecd --import", /--livecd needs --cdrom/],
      ["--filesystem /a,b", /--filesystem is not supported/],
      ["--disk sise=1 --import", /no "sise".*size/s],
      ["--check all=off,none=on --import", /--check has no "none"/],
      ["--name x", /not said how the guest is installed/],
    ];
    for (const [line, words] of refusedWords) {
      assert.throws(
        () => checkWords(parseWords(line.split(" "))),
        (error: unknown) =>
          error instanceof CliError &&
          error.detail.exitCode === 2 &&
          words.test(`${error.message} ${error.detail.remedy ?? ""}`),
        line,
      );
    }
    checkWords(parseWords("--cpu EPYC,+x2apic,-svm --disk none --graphics none --import --controller usb3".split(" ")));
  });

  test("without a system nothing is chosen in the dark; file names and --os-type tell it", () => {
    const plain = ["--name", "vm", "--memory", "1024", "--disk", "size=1"];
    assert.throws(() => chooseOs(parseWords(plain)), /--osinfo is missing/);
    const named = (...words: string[]) => chooseOs(parseWords([...plain, ...words])).os.names[0];
    assert.equal(named("--cdrom", "/iso/ubuntu-22.04.3-live-server-amd64.iso"), "ubuntu22.04");
    assert.equal(named("--cdrom", "/iso/debian-12.5.0-amd64-netinst.iso"), "debian11");
    assert.equal(named("--cdrom", "/iso/AlmaLinux-9.3-x86_64-minimal.iso"), "almalinux9");
    assert.equal(named("--os-type", "linux"), "linux2022");
    assert.equal(named("--os-variant", "ubuntu26.04"), "ubuntu22.10");
    assert.equal(named("--osinfo", "none"), "generic");
    assert.throws(() => named("--osinfo", "debain11"), /no operating system "debain11"/);
  });

  test("the issue's own command line", () => {
    const line = "--name ubuntu-vm --vcpus 2 --memory 4096 --disk size=20 --os-type linux --cdrom x.iso";
    const guest = build(...line.split(" "));
    assert.equal(guest.os.names[0], "linux2022");
    assert.deepEqual(
      guest.disks.map((disk) => [disk.sizeGiB, disk.volume, disk.ejected]),
      [
        [20, undefined, undefined],
        [undefined, "x.iso", true],
      ],
    );
    assert.equal(guest.root.find("vcpu")?.text, "2");
  });

  test("which image is taken for a file's name is said once; its own name says it already", async () => {
    const pool = { name: "default", type: "dir" };
    const storage = (volumes: readonly string[]): Storage => ({
      volumeAt: () => Promise.resolve(undefined),
      volumeIn: () => Promise.resolve(undefined),
      volumesNamed: (name) =>
        Promise.resolve(volumes.includes(name) ? [{ path: `/pool/${name}`, format: "raw", pool }] : []),
      pools: () => Promise.resolve([pool]),
      imageAt: () => Promise.resolve(undefined),
      hasImage: (name) => Promise.resolve(name === "x" || name === "y.iso"),
    });
    for (const [medium, image, volumes, said] of [
      ["x.iso", "x", [], ["--cdrom x.iso: image x is taken."]],
      ["x", "x", [], []],
      ["y.iso", "y.iso", ["y.iso"], ["--cdrom y.iso: image y.iso is taken and not volume default/y.iso."]],
      ["/iso/x.iso", "x", [], ["No host has /iso/x.iso in its storage pools: image x is taken."]],
    ] as const) {
      const guest = build(
        "--name",
        "vm",
        "--memory",
        "1024",
        "--os-type",
        "linux",
        "--disk",
        "none",
        "--cdrom",
        medium,
      );
      const [wish] = guest.disks;
      assert.ok(wish !== undefined);
      const remarks: string[] = [];
      assert.equal((await resolveDisk(wish, storage(volumes), remarks)).image, image);
      assert.deepEqual(remarks, said);
    }
  });

  test("words are taken apart as a shell's and argparse's users expect", () => {
    assert.deepEqual(splitWords(`a="b,c",d='e "f"',g\\,h,,i=`), ["a=b,c", 'd=e "f"', "g,h", "i="]);
    const words = parseWords(["-nweb", "-r", "512", "--disk=size=1", "--wait", "--vnc", "-qd"]);
    assert.deepEqual(
      [words.text("--name"), words.text("--ram"), words.text("--disk"), words.all("--wait"), words.has("--debug")],
      ["web", "512", "size=1", [undefined], true],
    );
  });
});

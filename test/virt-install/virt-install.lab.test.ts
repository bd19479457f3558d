/**
 * `inn virt-install` on a real host: what it prints means the same as what Debian's virt-install prints for the same host;
 * an image is imported and seen on its console, a CD boots, an installation ends and what it installed starts.
 */
import assert from "node:assert/strict";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { bootIso } from "@innkeeper/cli/test-support/boot-iso.ts";
import { LabServer } from "@innkeeper/cli/test-support/lab-server.ts";
import { canonical } from "./canonical.ts";
import { combinations, debian, skip } from "./debian.ts";
import { shellWords } from "./shell-word.ts";

/** Command lines for other hosts: with other storage, with KVM, with more CPUs or another one. */
const elsewhere: readonly RegExp[] = [
  /\/var\/lib|\/srv|\/dev\/vg0|vol=|pool=/,
  /host-passthrough|host-model|--cpu (host|EPYC)|virt-type kvm/,
  /--vcpus (vcpu=)?[348]|--vcpus sockets/,
];
const installerLine = "INSTALLER ON CD";

function virtInstall(line: string, ...more: string[]): string[] {
  return ["virt-install", ...line.split(" "), ...more];
}

suite("virt-install on a real host", { timeout: 900_000 }, () => {
  let plane: LabServer;
  before(async () => {
    plane = await LabServer.up({ name: `virtinstall-${process.pid}`, hostCount: 1 });
    const { sharedFolder } = plane.lab;
    const image = (await guestImage()).path;
    await Promise.all([
      copyFile(image, path.join(sharedFolder, "one.qcow2")),
      copyFile(image, path.join(sharedFolder, "two.qcow2")),
      writeFile(path.join(sharedFolder, "installer.iso"), bootIso(installerLine)),
    ]);
    await plane.output("pool", "refresh", "h1/shared");
    // virt-install's disks go to the pool `default`, which it makes where there is none.
    const images = ["pool-create-as", "default", "dir", "--target", "/var/lib/libvirt/default", "--build"];
    await plane.lab.host("h1").exec(["virsh", ...images]);
    await plane.output("host", "refresh", "h1");
  });
  after(async () => {
    await plane?.[Symbol.asyncDispose]();
  });

  async function vm(name: string): Promise<Vm> {
    return JSON.parse(await plane.output("vm", "show", name, "-o", "json")) as Vm;
  }

  async function consoleSays(words: readonly string[], pattern: RegExp): Promise<string> {
    const seen = new AbortController();
    const { output, errors, exitCode } = await plane.inn(words, {
      signal: seen.signal,
      columns: 80,
      inputIsTerminal: true,
      onOutput: (text) => {
        if (pattern.test(text)) seen.abort();
      },
    });
    assert.match(output, pattern, `exit code ${exitCode}: ${errors}`);
    return output;
  }

  test("what is printed means the same as what Debian's virt-install prints for this host", { skip }, async (t) => {
    // All are compared in virt-install.test.ts; over half of them, of every kind, are enough for a host that is far away.
    const lines = combinations()
      .filter((line) => !elsewhere.some((pattern) => pattern.test(line)))
      .filter((_line, index) => index % 7 < 4);
    assert.ok(lines.length >= 100, `only ${lines.length}`);
    const commandLines = lines.map((line) => ["--name", "vm", ...shellWords(line), "--print-xml"]);
    const uri = `${plane.lab.host("h1").uri}?pkipath=${plane.lab.clientTls.folder}`;
    const expected = await debian(uri, commandLines);
    const wrong: string[] = [];
    for (const [index, words] of commandLines.entries()) {
      const { exitCode, output, errors } = await plane.inn(["virt-install", ...words]);
      const documents = output.match(/<domain\b[\s\S]*?<\/domain>/g) ?? [];
      const known = { words, files: [] };
      const [ours, theirs] = [documents, expected[index]?.xml ?? []].map((all) =>
        all.map((each) => canonical(each, known)),
      );
      if (exitCode === 0 && ours?.join() === theirs?.join()) continue;
      wrong.push(
        `${lines[index]}\n${errors}${expected[index]?.error ?? ""}\nours:\n${ours?.join()}\ntheirs:\n${theirs?.join()}`,
      );
    }
    t.diagnostic(`${lines.length - wrong.length} of ${lines.length} command lines give the same domain`);
    assert.equal(wrong.length, 0, wrong.join("\n\n"));
  });

  test("--import: the image boots and is seen on the console, which is attached", async () => {
    const words = virtInstall(
      "--name one --memory 192 --vcpus 2 --disk vol=shared/one.qcow2 --import --osinfo linux2022 --graphics none",
    );
    const output = await consoleSays(words, /GUEST READY/);
    assert.match(output, /Starting install\.\.\./);
    const made = await vm("one");
    assert.equal(made.state, "running");
    assert.equal(made.managed, true);
    assert.deepEqual([made.spec.cpu.count, made.spec.memory.sizeMiB, made.spec.graphics], [2, 192, "none"]);
    assert.match(await plane.output("vm", "xml", "one"), /<libosinfo:os id="http:\/\/libosinfo.org\/linux\/2022"\/>/);
  });

  test("--cdrom: the CD boots; at its reboot the VM is off, and starts from its disk", async () => {
    const install =
      "--name two --memory 192 --disk vol=shared/two.qcow2 --cdrom shared/installer.iso --osinfo linux2022";
    const { exitCode, output, errors } = await plane.inn(virtInstall(install, "--graphics", "none", "--wait", "4"));
    assert.equal(exitCode, 0, errors);
    assert.match(errors, /No terminal to connect/);
    assert.match(output, /Domain has shutdown\. Continuing\.[\s\S]*Restarting guest\./);
    await consoleSays(["vm", "console", "two"], /GUEST READY/);
    const drive = (await vm("two")).spec.disks.find((disk) => disk.device === "cdrom");
    assert.equal(drive?.source, undefined, "the installer's CD is still in");
  });

  test("the issue's own line: what it says is missing is uploaded, and then it is found", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "inn-virt-install-"));
    try {
      const file = path.join(folder, "x.iso");
      await writeFile(file, bootIso(installerLine));
      const line = (name: string, medium: string): string[] =>
        virtInstall(
          `--name ${name} --vcpus 2 --memory 4096 --disk size=20 --os-type linux --cdrom ${medium}`,
          "--noautoconsole",
        );
      for (const medium of ["x.iso", file]) {
        const { exitCode, errors } = await plane.inn(line("ubuntu-vm", medium));
        assert.notEqual(exitCode, 0);
        assert.match(errors, /inn image upload/);
      }
      await plane.output("image", "upload", file, "--pool", "h1/default");
      for (const [name, medium] of [
        ["ubuntu-vm", "x.iso"],
        ["ubuntu-vm-2", file],
      ] as const) {
        await plane.output(...line(name, medium));
        const drive = (await vm(name)).spec.disks.find((disk) => disk.device === "cdrom");
        assert.match(drive?.source ?? "", /\/x-[^/]*$/);
        await plane.output("vm", "delete", name, "--disks", "--force", "--yes");
      }
      // A volume by its file's name, where there is one.
      await plane.output(...line("ubuntu-vm", "installer.iso"));
      await plane.output("vm", "delete", "ubuntu-vm", "--disks", "--force", "--yes");
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("--noautoconsole returns at once; the console shows what the CD says", async () => {
    const line = "--name three --memory 128 --disk none --cdrom shared/installer.iso --livecd --osinfo linux2022";
    const output = await plane.output(...virtInstall(line, "--noautoconsole", "--graphics", "vnc"));
    assert.match(output, /Domain creation completed: three\./);
    await consoleSays(["vm", "console", "three"], new RegExp(installerLine));
    const { spec } = await vm("three");
    assert.equal(spec.graphics, "vnc");
    assert.ok(spec.disks.find((disk) => disk.device === "cdrom")?.source?.endsWith("/installer.iso"));
  });

  test("a new disk under its own name; --print-xml and --dry-run make nothing", async () => {
    const disk = path.join(plane.lab.sharedFolder, "named.qcow2");
    const line = `--name four --memory 128 --disk ${disk},size=1 --boot hd --osinfo linux2022 --noautoconsole`;
    assert.match(await plane.output(...virtInstall(line, "--print-xml")), /named\.qcow2/);
    assert.match(await plane.output(...virtInstall(line, "--dry-run")), /Dry run completed successfully/);
    assert.doesNotMatch(await plane.output("volume", "list"), /named\.qcow2/);
    await plane.output(...virtInstall(line));
    assert.equal((await vm("four")).spec.disks[0]?.source, disk);
    const again = await plane.inn(virtInstall(line.replace("four", "five")));
    assert.equal(again.exitCode, 69, again.errors);
    assert.match(again.errors, /is a disk of VM four/);
    assert.match(again.errors, /field: +disks\[0\]\.path \(--disk .*named\.qcow2,size=1\)/);
  });

  test("--cloud-init: the seed is in the drive at the first start, and only then", async () => {
    const line = "--name seeded --memory 128 --disk none --boot hd --osinfo linux2022 --noautoconsole --graphics none";
    const { exitCode, output, errors } = await plane.inn(
      virtInstall(line, "--cloud-init", "root-password-generate=on"),
    );
    assert.equal(exitCode, 0, errors);
    assert.match(output, /Password for first root login is: [A-Za-z0-9]{16}\n/);
    const [, seed = ""] = /inn volume delete (\S+)/.exec(errors) ?? [];
    assert.match(seed, /^seeded-cidata-\w+\.iso$/);
    const running = await plane.output("vm", "xml", "seeded");
    assert.match(running, new RegExp(`file='[^']*/${seed}'`));
    assert.match(running, /<entry name='serial'>ds=nocloud<\/entry>/);
    const next = await plane.output("vm", "xml", "seeded", "--inactive");
    assert.doesNotMatch(next, /cidata|nocloud/);
    await plane.output("vm", "force-off", "seeded");
    await plane.output("volume", "delete", seed, "--yes");
  });

  test("what a host would be reached by is refused by the server, too", async () => {
    const line = "--name six --memory 128 --disk none --boot network --osinfo linux2022 --noautoconsole";
    const xml = ["--xml", "./devices/hostdev/@mode=subsystem"];
    const { exitCode, errors } = await plane.inn(virtInstall(line, ...xml));
    assert.equal(exitCode, 69, errors);
    assert.match(errors, /must not have devices\/hostdev/);
    assert.equal((await plane.inn(["vm", "show", "six"])).exitCode, 66);
  });
});

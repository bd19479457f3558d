/** --cloud-init: what is written for the guest, that a foreign program reads the CD, and the two domains. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtempDisposable, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";
import { parse } from "yaml";
import { buildGuest } from "./build.ts";
import { seedOf } from "./cloud-init.ts";
import { installDocument } from "./install.ts";
import { chooseOs } from "./os-choice.ts";
import { seedIso } from "./seed-iso.ts";
import { parseWords } from "./word.ts";

const xorriso = "/usr/bin/xorriso";

suite("--cloud-init", () => {
  test("by itself: a generated password, once, and cloud-init off afterwards", () => {
    const seed = seedOf(parseWords(["--cloud-init"]));
    assert.match(seed?.generatedPassword ?? "", /^[A-Za-z0-9]{16}$/);
    const text = seed?.files["user-data"] ?? "";
    assert.match(text, /^#cloud-config\n/);
    const config = parse(text) as Record<string, unknown>;
    assert.deepEqual(config["chpasswd"], { list: `root:${seed?.generatedPassword}\n`, expire: true });
    assert.match(String(config["runcmd"]), /cloud-init\.disabled/);
    assert.equal(seed?.files["meta-data"], "");
    assert.equal(seedOf(parseWords(["--import"])), undefined);
  });

  test("passwords and keys from files, whatever is in them; files as they are", async () => {
    await using folder = await mkdtempDisposable(path.join(tmpdir(), "inn-seed-"));
    const file = (name: string): string => path.join(folder.path, name);
    await writeFile(file("password"), 'a"b: #c\\d\nsecond line\n');
    await writeFile(file("key"), "ssh-ed25519 AAAA me@here\n");
    await writeFile(file("meta"), "instance-id: i-1\n");
    const text = `root-password-file=${file("password")},ssh-key=${file("key")},clouduser-ssh-key=${file("key")},meta-data=${file("meta")}`;
    const seed = seedOf(parseWords(["--cloud-init", text]));
    const config = parse(seed?.files["user-data"] ?? "") as Record<string, unknown>;
    assert.deepEqual(config["chpasswd"], { list: 'root:a"b: #c\\d\n', expire: false });
    assert.deepEqual(config["users"], [
      { name: "root", "ssh-authorized-keys": ["ssh-ed25519 AAAA me@here"] },
      { "ssh-authorized-keys": ["ssh-ed25519 AAAA me@here"] },
    ]);
    assert.equal(seed?.files["meta-data"], "instance-id: i-1\n");
    assert.equal(seed?.generatedPassword, undefined);
    assert.throws(() => seedOf(parseWords(["--cloud-init", "user-data=/nowhere"])), /can't be read on this machine/);
    assert.throws(() => seedOf(parseWords(["--cloud-init", "userdata=/x"])), /--cloud-init has no "userdata"/);
  });

  test("another program reads the CD", { skip: !existsSync(xorriso) && "needs Debian's xorriso" }, async () => {
    await using folder = await mkdtempDisposable(path.join(tmpdir(), "inn-seed-"));
    const files = { "meta-data": "", "user-data": "#cloud-config\n", "network-config": "x".repeat(5000) };
    const image = path.join(folder.path, "seed.iso");
    await writeFile(image, seedIso(files));
    const out = path.join(folder.path, "out");
    const words = ["-osirrox", "on", "-indev", image, "-pvd_info", "-extract", "/", out];
    const told = execFileSync(xorriso, words, { stdio: "pipe", encoding: "utf8" });
    assert.match(told, /Volume Id\s*: cidata/i);
    assert.deepEqual((await readdir(out)).toSorted(), Object.keys(files).toSorted());
    for (const [name, text] of Object.entries(files)) assert.equal(await readFile(path.join(out, name), "utf8"), text);
  });

  test("the first start has the drive and says so; afterwards the drive is empty", () => {
    const words = parseWords("--memory 512 --disk size=1 --cloud-init --osinfo debian11".split(" "));
    const facts = { architecture: "x86_64", kvm: false, q35: true, tpm: true, spice: false, qxl: false };
    const built = buildGuest(words, { ...facts, virtioGpu: true, bochs: true }, chooseOs(words).os, "vm");
    const { guest, installation } = built;
    assert.deepEqual(
      guest.disks.map(({ option, ejected, element }) => [
        option,
        ejected,
        element.find("target")?.attributes.get("dev"),
      ]),
      [
        ["--disk", undefined, "vda"],
        ["--cloud-init", true, "sda"],
      ],
    );
    const first = installDocument(guest, installation);
    assert.equal(first?.find("on_reboot")?.text, "destroy");
    assert.equal(first?.find("os/smbios")?.attributes.get("mode"), "sysinfo");
    assert.equal(first?.find("sysinfo/system/entry")?.text, "ds=nocloud");
    assert.equal(guest.root.find("sysinfo"), undefined);
    assert.equal(guest.root.find("on_reboot"), undefined);
  });
});

/**
 * Command lines of combination.txt: what `inn virt-install --print-xml` makes of them on a host with KVM means the same as
 * what Debian's virt-install prints for that host. Debian's runs on libvirt's test driver with the host's capabilities.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { KvmHost } from "./kvm-host.ts";
import { canonical } from "./canonical.ts";
import { shellWords } from "./shell-word.ts";

const folder = import.meta.dirname;
const python = "/usr/bin/python3";
const virtinst = "/usr/share/virt-manager/virtinst";
const common = "--memory 2048 --disk size=10 --osinfo debian11 --import";

export function combinations(): string[] {
  return readFileSync(path.join(folder, "combination.txt"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.replace(/^@/, common));
}

function theirs(commandLines: readonly string[][]): { readonly xml?: string[]; readonly error?: string }[] {
  const host = path.join(folder, "kvm-host");
  const uri = [
    `__virtinst_test__test://${host}/node.xml`,
    "fakeuri=qemu+tls://kvm1/system",
    `caps=${host}/capabilities.xml`,
    `domcaps=${host}/domain-capabilities.xml`,
  ].join(",");
  const output = execFileSync(python, [path.join(folder, "virt-install.py"), uri], {
    input: JSON.stringify(commandLines),
    encoding: "utf8",
    maxBuffer: 1 << 28,
    timeout: 600_000,
  });
  return JSON.parse(output) as { xml?: string[]; error?: string }[];
}

const skip = !existsSync(virtinst) && "needs Debian's virtinst";

suite("as Debian's virt-install", { skip }, () => {
  const lines = combinations();
  const commandLines = lines.map((line) => ["--name", "vm", ...shellWords(line), "--print-xml"]);
  let expected: ReturnType<typeof theirs>;
  let host: KvmHost;

  before(async () => {
    expected = theirs(commandLines);
    host = await KvmHost.open();
  });
  after(async () => await host[Symbol.asyncDispose]());

  assert(lines.length >= 100, "too few command lines");
  assert.equal(new Set(lines).size, lines.length, "a command line is there twice");

  for (const [index, line] of lines.entries()) {
    test(line, async () => {
      const words = commandLines[index] ?? [];
      const { xml, error } = expected[index] ?? {};
      assert.equal(error, undefined, `Debian's virt-install refuses it: ${error}`);
      const known = { words, files: host.files };
      const ours = await host.preview(words);
      assert.deepEqual(
        ours.map((document) => canonical(document, known)),
        xml?.map((document) => canonical(document, known)),
      );
    });
  }
});

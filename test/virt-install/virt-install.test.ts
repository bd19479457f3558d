/**
 * Command lines of combination.txt: what `inn virt-install --print-xml` makes of them on a host with KVM means the same as
 * what Debian's virt-install prints for that host. Debian's runs on libvirt's test driver with the host's capabilities.
 */
import assert from "node:assert/strict";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { KvmHost } from "./kvm-host.ts";
import { canonical } from "./canonical.ts";
import { type Answer, combinations, debian, skip } from "./debian.ts";
import { shellWords } from "./shell-word.ts";

const folder = import.meta.dirname;
const host = path.join(folder, "kvm-host");
const uri = [
  `__virtinst_test__test://${host}/node.xml`,
  "fakeuri=qemu+tls://kvm1/system",
  `caps=${host}/capabilities.xml`,
  `domcaps=${host}/domain-capabilities.xml`,
].join(",");

suite("as Debian's virt-install", { skip }, () => {
  const lines = combinations();
  const commandLines = lines.map((line) => ["--name", "vm", ...shellWords(line), "--print-xml"]);
  let expected: readonly Answer[];
  let ours: KvmHost;

  before(async () => {
    expected = await debian(uri, commandLines);
    ours = await KvmHost.open();
  });
  after(async () => await ours[Symbol.asyncDispose]());

  assert(lines.length >= 100, "too few command lines");
  assert.equal(new Set(lines).size, lines.length, "a command line is there twice");

  for (const [index, line] of lines.entries()) {
    test(line, async () => {
      const words = commandLines[index] ?? [];
      const { xml, error } = expected[index] ?? {};
      assert.equal(error, undefined, `Debian's virt-install refuses it: ${error}`);
      const known = { words, files: ours.files };
      assert.deepEqual(
        (await ours.preview(words)).map((document) => canonical(document, known)),
        xml?.map((document) => canonical(document, known)),
      );
    });
  }
});

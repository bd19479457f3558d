/**
 * Every domain of libvirt's own tests is read, changed in one field, and written back with no other difference. The
 * files are those of libvirt's source package in its cache (packages/libvirt/tool brings it); none is committed.
 */
import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";
import type { Element } from "@xmldom/xmldom";
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import { applyChange } from "./apply-change.ts";
import { pendingChanges } from "./compare.ts";
import { child, remove, removeIfEmpty } from "./element.ts";
import { readMetadata } from "./metadata.ts";
import { retarget } from "./retarget.ts";
import { readSpec } from "./spec.ts";

const cache = path.join(process.env["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache"), "innkeeper/libvirt-source");
const folder = path.join(cache, "libvirt-9.0.0/tests");
const skip = existsSync(folder)
  ? false
  : "libvirt's sources are not here: node packages/libvirt/tool/generate.ts --check";

/** Files that are no XML on purpose: libvirt's tests of bad input. */
const noXml: readonly string[] = [];

/** An element as text that is the same for the same meaning: attributes sorted, white space between elements left out. */
function canonical(element: Element): string {
  const attributes = Array.from(element.attributes, (each) => `${each.name}=${JSON.stringify(each.value)}`).sort();
  const content: string[] = [];
  for (let node = element.firstChild; node !== null; node = node.nextSibling) {
    if (node.nodeType === node.ELEMENT_NODE) content.push(canonical(node as Element));
    else if (node.nodeType === node.TEXT_NODE || node.nodeType === node.CDATA_SECTION_NODE) {
      if ((node.nodeValue ?? "").trim() !== "") content.push(JSON.stringify(node.nodeValue?.trim()));
    }
  }
  return `<${element.nodeName} ${attributes.join(" ")}>${content.join("")}</>`;
}

/** The document without the field that the test changes. */
function withoutShares(root: Element): string {
  remove(child(root, "cputune/shares"));
  removeIfEmpty(child(root, "cputune"));
  return canonical(root);
}

suite("domains from the wild", { skip }, () => {
  const domains: { readonly name: string; readonly xml: string }[] = [];
  const others = new Map<string, number>();
  for (const name of skip === false ? globSync("*data/**/*.xml", { cwd: folder }).toSorted() : []) {
    const xml = readFileSync(path.join(folder, name), "utf8");
    const rootName = /<([A-Za-z][\w:-]*)/.exec(xml.replaceAll(/<!--[\s\S]*?-->|<\?[\s\S]*?\?>/g, ""))?.[1] ?? "nothing";
    if (rootName === "domain") domains.push({ name, xml });
    else others.set(rootName, (others.get(rootName) ?? 0) + 1);
  }

  test("all are read, changed in one field, and written back with no other difference", (context) => {
    const unreadable: string[] = [];
    for (const { name, xml } of domains) {
      const root = readable(xml);
      if (root === undefined) {
        unreadable.push(name);
        continue;
      }
      const spec = readSpec(root);
      assert.deepEqual(pendingChanges(spec, spec), [], name);
      readMetadata(root);
      applyChange(root, { cpu: { shares: 1234 } });
      const written = parseXml(serializeXml(root));
      assert.equal(readSpec(written).cpu.shares, 1234, name);
      assert.equal(withoutShares(written), withoutShares(parseXml(xml)), name);
    }
    assert.deepEqual(unreadable, noXml);
    assert(domains.length > 1500, `${domains.length}`);
    const rest = [...others].map(([rootName, count]) => `${count} <${rootName}>`).join(", ");
    context.diagnostic(`${domains.length} domains; left out, being no domains: ${rest}`);
  });

  test("all can be given another identity without losing what is not modelled", () => {
    for (const { name, xml } of domains) {
      const root = readable(xml);
      if (root === undefined) continue;
      const before = readSpec(root);
      retarget(root, { name: "copy", uuid: "6f2f5d2c-52b5-4a47-8e0a-3a1b7f0c9d11", newMacs: true });
      const after = readSpec(parseXml(serializeXml(root)));
      assert.equal(after.disks.length, before.disks.length, name);
      assert.deepEqual(after.cpu, before.cpu, name);
      assert.deepEqual(after.memory, before.memory, name);
    }
  });
});

function readable(xml: string): Element | undefined {
  try {
    return parseXml(xml);
  } catch {
    return undefined;
  }
}

/**
 * Every domain of libvirt's own tests is read, changed in one field (each in turn), and written back with no other
 * difference; what can't be changed is counted by its reason. The files are those of libvirt's source package,
 * which the test brings; none is committed.
 */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import type { Element } from "@xmldom/xmldom";
import { AppError } from "#core/app-error.ts";
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import { canonical } from "../test-support/canonical-xml.ts";
import { libvirtTests } from "../test-support/libvirt-source.ts";
import { fieldChanges } from "../test-support/wild-change.ts";
import { applyChange } from "./apply-change.ts";
import { pendingChanges } from "./compare.ts";
import { readMetadata } from "./metadata.ts";
import { retarget } from "./retarget.ts";
import { readSpec } from "./spec.ts";

const { folder, skip } = libvirtTests();

/** Files that are no XML on purpose: libvirt's tests of bad input. */
const noXml: readonly string[] = [];

suite("domains from the wild", { skip }, () => {
  const domains: { readonly name: string; readonly xml: string }[] = [];
  const others = new Map<string, number>();
  for (const name of skip === false ? globSync("*data/**/*.xml", { cwd: folder }).toSorted() : []) {
    const xml = readFileSync(path.join(folder, name), "utf8");
    const rootName = /<([A-Za-z][\w:-]*)/.exec(xml.replaceAll(/<!--[\s\S]*?-->|<\?[\s\S]*?\?>/g, ""))?.[1] ?? "nothing";
    // What libvirt keeps of a running guest holds its domain.
    const within = rootName === "domstatus" ? /<domain[\s>][\s\S]*<\/domain>/.exec(xml)?.[0] : undefined;
    if (rootName === "domain" || within !== undefined) domains.push({ name, xml: within ?? xml });
    else others.set(rootName, (others.get(rootName) ?? 0) + 1);
  }
  const unreadable = domains.filter(({ xml }) => readable(xml) === undefined).map(({ name }) => name);

  test("all are domains that can be read, but for those that are broken on purpose", (context) => {
    assert.deepEqual(unreadable, noXml);
    assert(domains.length > 2200, `${domains.length}`);
    const rest = [...others].map(([rootName, count]) => `${count} <${rootName}>`).join(", ");
    context.diagnostic(`${domains.length} domains; left out, being no domains: ${rest}`);
    for (const { name, xml } of domains) {
      const root = parseXml(xml);
      const spec = readSpec(root);
      assert.deepEqual(pendingChanges(spec, spec), [], name);
      readMetadata(root);
    }
  });

  for (const [field, changeOf] of Object.entries(fieldChanges)) {
    test(`${field}: written back with no other difference`, (context) => {
      let changed = 0;
      let without = 0;
      const refused = new Map<string, number>();
      for (const { name, xml } of domains) {
        const root = parseXml(xml);
        const made = changeOf(readSpec(root));
        if (made === undefined) {
          without++;
          continue;
        }
        try {
          applyChange(root, made.change);
        } catch (error) {
          if (!(error instanceof AppError)) throw error;
          const why = error.message.replaceAll(/[0-9]+/g, "n");
          refused.set(why, (refused.get(why) ?? 0) + 1);
          continue;
        }
        const written = parseXml(serializeXml(root));
        assert(made.arrived(readSpec(written)), name);
        const before = parseXml(xml);
        made.strip(before);
        made.strip(written);
        assert.equal(canonical(written), canonical(before), name);
        changed++;
      }
      const why = [...refused].map(([message, count]) => `; ${count} refused: ${message}`).join("");
      context.diagnostic(`${changed} domains changed; ${without} have nothing of the kind${why}`);
      assert(changed > 0);
      assert.equal(changed + without + [...refused.values()].reduce((sum, count) => sum + count, 0), domains.length);
    });
  }

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

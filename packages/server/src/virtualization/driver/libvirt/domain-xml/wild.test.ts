/**
 * Every domain of libvirt's own tests is read, changed in one field (each in turn), and written back with no other
 * difference; what can't be changed is refused for a reason that is expected here. The files are those of libvirt's source
 * package, which the test brings; none is committed.
 */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { readXml } from "#libvirt/read-xml.ts";
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import { canonical } from "./canonical.ts";
import { libvirtTests } from "../test-support/libvirt-source.ts";
import { fieldChanges } from "../test-support/wild-change.ts";
import { applyChange } from "./apply-change.ts";
import { pendingChanges } from "./compare.ts";
import { readMetadata } from "./metadata.ts";
import { retarget } from "./retarget.ts";
import { readSpec } from "./spec.ts";

const { folder, skip } = libvirtTests();

/** Changes that not all domains take: how many at least do, and why those that have the field may be refused, how often. */
interface Expected {
  readonly changed: number;
  readonly refused?: readonly (readonly [why: RegExp, atMost: number])[];
}

/** Of 9.0.0's 2228 domains. What is not named here can be changed in each of them. */
const expected: Readonly<Record<string, Expected>> = {
  "cpu.shares, taken away": { changed: 29 },
  "memory.sizeMiB": { changed: 2091, refused: [[/^the NUMA cells have \d+ MiB together, not \d+ MiB/, 137]] },
  "disksChange.ioLimit": { changed: 1195 },
  "disksChange.bootOrder": { changed: 1058 },
  "disksChange.source, ejected": { changed: 239, refused: [[/^Disk [hs]da is no drive whose medium/, 2]] },
  disksRemove: { changed: 1058 },
  "nicsChange.linkUp": { changed: 451 },
  "nicsChange.network": { changed: 266 },
};

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

  test("each can be read, and differs in nothing from itself", (context) => {
    assert(domains.length >= 2228, `${domains.length}`);
    const rest = [...others].map(([rootName, count]) => `${count} <${rootName}>`).join(", ");
    context.diagnostic(`${domains.length} domains; left out, being no domains: ${rest}`);
    for (const { name, xml } of domains) {
      const root = parseXml(xml);
      const spec = readSpec(root);
      assert.deepEqual(pendingChanges(spec, spec), [], name);
      const onlyRead = readXml(xml);
      assert.deepEqual(readSpec(onlyRead), spec, name);
      assert.deepEqual(readMetadata(onlyRead), readMetadata(root), name);
    }
  });

  for (const [field, changeOf] of Object.entries(fieldChanges)) {
    test(`${field}: written back with no other difference`, (context) => {
      let changed = 0;
      let without = 0;
      const { changed: atLeast, refused: reasons = [] } = expected[field] ?? { changed: domains.length };
      const refused = new Map<RegExp, number>();
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
          const why = reasons.find(([reason]) => reason.test(error.message))?.[0];
          assert(why !== undefined, `${name} was refused: ${error.message}`);
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
      const why = [...refused].map(([reason, count]) => `; ${count} refused: ${reason.source}`).join("");
      const counts = `${changed} domains changed; ${without} have nothing of the kind${why}`;
      context.diagnostic(counts);
      assert(changed >= atLeast, counts);
      for (const [reason, atMost] of reasons) assert((refused.get(reason) ?? 0) <= atMost, counts);
    });
  }

  test("all can be given another identity without losing what is not modelled", () => {
    for (const { name, xml } of domains) {
      const root = parseXml(xml);
      const before = readSpec(root);
      retarget(root, { name: "copy", uuid: "6f2f5d2c-52b5-4a47-8e0a-3a1b7f0c9d11", newMacs: true });
      const after = readSpec(parseXml(serializeXml(root)));
      assert.equal(after.disks.length, before.disks.length, name);
      assert.deepEqual(after.cpu, before.cpu, name);
      assert.deepEqual(after.memory, before.memory, name);
    }
  });
});

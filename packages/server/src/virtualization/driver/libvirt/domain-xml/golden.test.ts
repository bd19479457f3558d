/**
 * Golden pairs: golden/<case>/spec.json → expected.xml, each valid by libvirt's own schema, each read back to the same
 * spec; and no field of the contract is without one. INN_UPDATE_GOLDEN=1 writes expected.xml anew; what it writes is to be read before it is committed.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { parseXml } from "#libvirt/xml.ts";
import type { GuestDefinition } from "#virtualization/port.ts";
import { buildDomainXml, type Platform } from "./build.ts";
import { readMetadata } from "./metadata.ts";
import { readSpec } from "./spec.ts";

interface Golden {
  readonly platform: Platform;
  readonly definition: GuestDefinition;
}

const folder = path.join(import.meta.dirname, "golden");
const validator = "/usr/bin/virt-xml-validate";
const missing = [validator, "/usr/bin/xmllint"].filter((file) => !existsSync(file));
const names = readdirSync(folder);

function readGolden(name: string): Golden {
  return JSON.parse(readFileSync(path.join(folder, name, "spec.json"), "utf8")) as Golden;
}

suite("golden pairs of spec and domain XML", () => {
  assert(names.length >= 10);
  const skip = missing.length > 0 && `needs ${missing.join(", ")} of Debian's libvirt-clients and libxml2-utils`;
  for (const name of names) {
    const { platform, definition } = readGolden(name);
    const file = path.join(folder, name, "expected.xml");

    test(`${name}: the XML is as expected`, () => {
      const xml = buildDomainXml(definition, platform);
      if (process.env["INN_UPDATE_GOLDEN"] === "1") writeFileSync(file, xml);
      assert.equal(xml, readFileSync(file, "utf8"));
    });

    test(`${name}: libvirt's schema allows it`, { skip }, () => {
      execFileSync(validator, [file, "domain"], { stdio: "pipe" });
    });

    test(`${name}: it is read back as it was meant`, () => {
      const root = parseXml(readFileSync(file, "utf8"));
      const spec = readSpec(root);
      assertWithin(spec, definition.spec);
      assert.deepEqual(readMetadata(root), definition.metadata);
      // Everything that was left to defaults is named now, and makes the same domain.
      assert.deepEqual(readSpec(parseXml(buildDomainXml({ ...definition, spec }, platform))), spec);
    });
  }
});

/** What is only read of a guest, and what libvirt keeps beside its XML. */
const readOnlyFields: readonly string[] = [
  "disks[].backingChain",
  "disks[].encryption",
  "nics[].hostDevice",
  "otherHardware",
  "autostart",
];
/** Values that no new VM has, or that its XML does not name. */
const otherValues: readonly string[] = ["disks[].device=lun", "disks[].cache=default"];

/** Every field of the schema and every word of its lists, as `disks[].bus`, `firmware=uefi`. */
function fieldsOf(schema: unknown, at = ""): string[] {
  if (!isRecord(schema) || readOnlyFields.includes(at)) return [];
  const { properties, items, enum: words } = schema;
  if (isRecord(items)) return [at, ...fieldsOf(items, `${at}[]`)];
  if (isRecord(properties)) {
    const own = Object.entries(properties).flatMap(([name, each]) =>
      fieldsOf(each, at === "" ? name : `${at}.${name}`),
    );
    return at === "" ? own : [at, ...own];
  }
  return [at, ...(Array.isArray(words) ? words.map((word) => `${at}=${String(word)}`) : [])];
}

/** The same of a spec. */
function usedBy(value: unknown, at = ""): string[] {
  if (Array.isArray(value)) return [at, ...value.flatMap((each) => usedBy(each, `${at}[]`))];
  if (!isRecord(value)) return [at, `${at}=${String(value)}`];
  return [at, ...Object.entries(value).flatMap(([name, each]) => usedBy(each, at === "" ? name : `${at}.${name}`))];
}

test("every field of the contract, and every word of its lists, is in a golden pair", (context) => {
  const used = new Set(names.flatMap((name) => usedBy(readGolden(name).definition.spec)));
  const fields = fieldsOf(VmSpec).filter((field) => !otherValues.includes(field) && !field.endsWith("[]"));
  context.diagnostic(`${fields.length} fields and words in ${names.length} pairs`);
  assert(fields.length > 80);
  assert.deepEqual(
    fields.filter((field) => !used.has(field)),
    [],
  );
});

/** What the spec asks for, the other has; it may have more. */
function assertWithin(actual: VmSpec, asked: VmSpec): void {
  const part = (whole: unknown, wanted: unknown): unknown => {
    if (Array.isArray(wanted) && Array.isArray(whole)) return whole.map((each, index) => part(each, wanted[index]));
    if (!isRecord(wanted) || !isRecord(whole)) return whole;
    return Object.fromEntries(Object.keys(wanted).map((key) => [key, part(whole[key], wanted[key])]));
  };
  const disks = asked.disks.map((disk) => {
    if (disk.source !== undefined) return disk;
    const { format: _format, ...empty } = disk;
    return empty;
  });
  const wanted = { ...asked, disks };
  assert.deepEqual(part(actual, wanted), wanted);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

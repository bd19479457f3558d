import assert from "node:assert/strict";
import { test } from "node:test";
import {
  attribute,
  elements,
  escapeXml,
  formatXml,
  integer,
  parseXml,
  serializeXml,
  sizeBytes,
  text,
  xml,
} from "./xml.ts";

test("reads texts, attributes, numbers and sizes at paths", () => {
  const root = parseXml(`<?xml version="1.0"?><domain type='kvm'><name> web </name><memory unit='MiB'>2</memory>
    <size>3</size><devices><disk dev='vda'/><disk dev='vdb'/></devices></domain>`);
  assert.equal(text(root, "name"), "web");
  assert.equal(text(root, "missing/path"), undefined);
  assert.equal(attribute(root, ".", "type"), "kvm");
  assert.deepEqual(
    elements(root, "devices/disk").map((disk) => attribute(disk, ".", "dev")),
    ["vda", "vdb"],
  );
  assert.equal(attribute(root, "devices/disk", "none"), undefined);
  assert.equal(sizeBytes(root, "memory", "KiB"), 2 * 1024 ** 2);
  assert.equal(sizeBytes(root, "size", "KiB"), 3072);
  assert.equal(sizeBytes(root, "name", "KiB"), undefined);
  assert.equal(integer("12"), 12);
  for (const none of ["", "1.5", "0x10", "9007199254740993", undefined]) assert.equal(integer(none), undefined);
});

test("refuses document types, entities and broken documents", () => {
  const hostile = [
    `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`,
    `<!DOCTYPE a><a/>`,
    `<a>&undefined;</a>`,
    `<a><b></a>`,
    ``,
    `<a/>${" ".repeat(4_194_304)}`,
  ];
  for (const document of hostile)
    assert.throws(() => parseXml(document), { code: "host_failed" }, document.slice(0, 40));
});

test("what is built is escaped and read back as it was", () => {
  const odd = `<&>"'\u00e9\u4e2d\n\t ]]>`;
  const built = formatXml(xml("a", { b: odd, none: undefined, n: 3 }, xml("c", {}, odd), undefined, "tail"));
  const root = parseXml(built);
  assert.equal(attribute(root, ".", "b"), odd);
  assert.equal(attribute(root, ".", "none"), undefined);
  assert.equal(attribute(root, ".", "n"), "3");
  assert.equal(elements(root, "c")[0]?.textContent, odd);
  assert.throws(() => escapeXml("a\u0000b"), { code: "invalid_field" });
  assert.equal(formatXml(xml("empty")), "<empty/>");
});

test("an unedited document is written as it was in meaning", () => {
  const source = `<d><metadata><x:y xmlns:x="urn:x" x:z="1">t<!-- c --></x:y></metadata><e a="&lt;&amp;"/></d>`;
  assert.equal(serializeXml(parseXml(source)), source);
});

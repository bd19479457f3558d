import assert from "node:assert/strict";
import { test } from "node:test";
import { type ReadElement, readXml } from "./read-xml.ts";
import {
  attribute,
  childElements,
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

/** A document that is read only, and one that is edited, read alike. */
const readings = { readXml, parseXml };

for (const [name, read] of Object.entries(readings))
  test(`${name}: texts, attributes, numbers and sizes at paths`, () => {
    const root: ReadElement =
      read(`<?xml version="1.0"?><domain type='kvm'><name> web </name><memory unit='MiB'>2</memory>
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
  for (const document of hostile) {
    for (const read of Object.values(readings))
      assert.throws(() => read(document), { code: "host_failed" }, document.slice(0, 40));
  }
});

test("what is built is escaped and read back as it was", () => {
  const odd = `<&>"'\u00e9\u4e2d\n\t ]]>`;
  const built = formatXml(xml("a", { b: odd, none: undefined, n: 3 }, xml("c", {}, odd), undefined, "tail"));
  for (const read of Object.values(readings)) {
    const root: ReadElement = read(built);
    assert.equal(attribute(root, ".", "b"), odd);
    assert.equal(attribute(root, ".", "none"), undefined);
    assert.equal(attribute(root, ".", "n"), "3");
    assert.equal(elements(root, "c")[0]?.textContent, odd);
  }
  assert.throws(() => escapeXml("a\u0000b"), { code: "invalid_field" });
  assert.equal(formatXml(xml("empty")), "<empty/>");
});

test("what is read only has text of all kinds, namespaces, and its place", () => {
  const root = readXml(`<d a="1&#10;2"> x<!-- c --><![CDATA[<&]]><?p i?><e>y</e><x:y xmlns:x="urn:x" x:z="1"/></d>`);
  assert.equal(root.getAttribute("a"), "1\n2");
  assert.equal(root.textContent, " x<&y");
  const [inner, foreign] = childElements(root);
  assert.equal(inner?.parentNode, root);
  assert.equal(inner.namespaceURI, null);
  assert.deepEqual([foreign?.tagName, foreign?.localName, foreign?.namespaceURI], ["x:y", "y", "urn:x"]);
  assert.equal(foreign?.getAttribute("x:z"), "1");
  assert.equal(foreign.getAttribute("toString"), null);
});

test("an unedited document is written as it was in meaning", () => {
  const source = `<d><metadata><x:y xmlns:x="urn:x" x:z="1">t<!-- c --></x:y></metadata><e a="&lt;&amp;"/></d>`;
  assert.equal(serializeXml(parseXml(source)), source);
});

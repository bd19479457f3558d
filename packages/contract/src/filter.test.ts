/** The filter's grammar, its errors, what it matches, and that no text breaks it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { FieldSource } from "./field-path.ts";
import { type Filter, FilterError, parseFilter } from "./filter.ts";
import { filterPredicate, searchText } from "./filter-match.ts";
import { resourceTable } from "./resource/table.ts";

const host = { id: "host-1", name: "rack2-kvm1", tags: ["rack2"], hardware: { memoryMiB: 131_072 } };
const vm = {
  id: "vm-1",
  name: 'Web "one"',
  hostId: "host-1",
  state: "running",
  template: false,
  description: "front of the Shop",
  tags: ["web", "tier:front"],
  addresses: [{ address: "10.0.0.7" }, { address: "fe80::7" }],
  currentSnapshotId: null,
  spec: { memory: { sizeMiB: 4096 }, nics: [{ network: "default", mac: "52:54:00:12:34:56" }, { network: "dmz" }] },
};
const snapshot = { id: "snap-1", vmId: "vm-1", name: "before", parentId: null };
const related = (_kind: string, id: string) => ({ "host-1": host, "vm-1": vm })[id];

const quoted = (text: string): string => `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
const parse = (text: string): Filter => parseFilter(text, resourceTable.vm);

function write(filter: Filter): string {
  if (filter.kind === "text") return quoted(filter.text);
  if (filter.kind === "not") return `not ${write(filter.term)}`;
  if (filter.kind === "compare") {
    return `${filter.field.name}${filter.operator}${filter.value === null ? "null" : quoted(filter.value)}`;
  }
  return `(${filter.terms.map(write).join(` ${filter.kind} `)})`;
}

function matches(resource: object, source: FieldSource, text: string): boolean {
  return filterPredicate(parseFilter(text, source), (each) => searchText(each, source), related)(resource);
}

test("conditions on text, numbers, booleans, lists and absent fields", () => {
  const cases: [string, boolean][] = [
    ["", true],
    ["  ", true],
    ["state=running", true],
    ["state = running", true],
    ["state!=running", false],
    ["name~WEB", true],
    ['name="Web \\"one\\""', true],
    ["tags=web", true],
    ["tags=tier:front", true],
    ["tags=db", false],
    ["tags!=db", true],
    ["tags!=web", false],
    ["spec.nics.network=dmz", true],
    ["spec.memory.sizeMiB>=4096", true],
    ["spec.memory.sizeMiB<512", false],
    ["spec.memory.sizeMiB>9", true],
    ["template=false", true],
    ["currentSnapshotId=null", true],
    ["currentSnapshotId!=null", false],
    ["startedAt=null", true],
    ['startedAt="null"', false],
    ["startedAt!=x", true],
    ["startedAt>2020-01-01", false],
    ["state=running and tags=web AND name~one", true],
    ["state=running and tags=db", false],
  ];
  for (const [filter, expected] of cases) assert.equal(matches(vm, resourceTable.vm, filter), expected, filter);
});

test("or, not, parentheses, tags, short names, relations and free text", () => {
  const cases: [string, boolean][] = [
    ["state=running and memoryMiB>=4096 and tag:web", true],
    ["state=shutoff or tag:web", true],
    ["state=shutoff or tag:web and tag:db", false],
    ["(state=shutoff or tag:web) and tag:tier:front", true],
    ["not tag:db", true],
    ["not (tag:db or tag:web)", false],
    ["not not tag:web", true],
    ["NOT tag:db OR state=shutoff", true],
    ["ip=10.0.0.7", true],
    ["mac=52:54:00:12:34:56 and network=default", true],
    ["host=rack2-kvm1", true],
    ["host.name~RACK2 and host.memoryMiB>1000", true],
    ["host.tag=rack2", true],
    ["host.tags!=rack2", false],
    ["host.hardware.vendor=null", true],
    ["shop", true],
    ["shop tier:front", true],
    ["shop and 10.0.0", true],
    ["fe80::7", true],
    ["shop nothing", false],
    ["shop state=shutoff", false],
    ['"of the shop"', true],
    ["order or shop", true],
    ["network or shop", true],
    ["android", false],
  ];
  for (const [filter, expected] of cases) assert.equal(matches(vm, resourceTable.vm, filter), expected, filter);
  assert.equal(matches(snapshot, resourceTable.snapshot, "vm.host.name=rack2-kvm1 and parentId=null"), true);
  assert.equal(matches({ ...vm, hostId: "host-2" }, resourceTable.vm, "host.name=rack2-kvm1"), false, "not known");
});

test("what can't be read names the position, the field and what was expected", () => {
  const cases: [string, number, string | undefined, RegExp, string?][] = [
    ["=x", 0, undefined, /Expected a condition/, "a field"],
    ["colour=red", 0, "colour", /no field "colour"/],
    ["sizeMiB=1", 0, "sizeMiB", /did you mean spec\.memory\.sizeMiB\?/, "spec.memory.sizeMiB"],
    ["stat=running", 0, "stat", /did you mean state/, "state"],
    ["host.nam=x", 0, "host.nam", /no field/],
    ["state=running and spec.memory.size=1", 18, "spec.memory.size", /no field/],
    ["constructor=1", 0, "constructor", /no field/],
    ["state=", 6, "state", /Expected a value/],
    ["state=runing", 6, "state", /never "runing": it is .*running/, "running"],
    ['name="open', 5, undefined, /not closed/, '"'],
    ["state=running tags=web", 14, undefined, /Expected `and`/, "or"],
    ['name="a"and state=running', 8, "name", /in double quotes/],
    ["state=running and", 17, undefined, /Expected a condition/],
    ["and state=running", 0, undefined, /Expected a condition/],
    ["(state=running", 0, undefined, /not closed/, ")"],
    ["(state=running tag:web)", 15, undefined, /`\)`/],
    ["state=running)", 13, undefined, /closes none/],
    ["web-1=x", 0, "web-1", /no name of a field/],
    ["memoryMiB>4G", 10, "memoryMiB", /is a number/, "a number"],
    [`${"(".repeat(60)}web${")".repeat(60)}`, 51, undefined, /levels of parentheses/],
  ];
  for (const [filter, position, field, message, expected] of cases) {
    assert.throws(
      () => parseFilter(filter, resourceTable.vm),
      (error: unknown) => {
        assert.ok(error instanceof FilterError, filter);
        assert.match(error.message, message);
        assert.equal(error.position, position, filter);
        assert.equal(error.field, field, filter);
        if (expected !== undefined) assert.ok(error.expected.includes(expected), `${filter}: ${error.expected.join()}`);
        return true;
      },
    );
  }
  assert.throws(() => parseFilter("tag:x", resourceTable.volume), /no tags here/);
});

test("any text is read or refused at a place in it", () => {
  const words = [
    "and",
    "or",
    "not",
    "(",
    ")",
    "tag:",
    "=",
    "!=",
    "~",
    ">=",
    '"',
    "\\",
    " ",
    "state",
    "running",
    "host.",
  ];
  const piece = fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 4 }));
  const text = fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join(""));
  fc.assert(
    fc.property(text, (filter) => {
      try {
        matches(vm, resourceTable.vm, filter);
      } catch (error) {
        assert.ok(error instanceof FilterError, filter);
        assert.ok(error.position >= 0 && error.position <= filter.length, filter);
      }
    }),
    { numRuns: 3000 },
  );
});

test("what is written from a tree is read as the same tree", () => {
  const value = fc.oneof(fc.string({ minLength: 1, maxLength: 8 }), fc.constantFrom("null", "and", "a b", '"', "\\"));
  const leaf = fc.oneof(
    value.map((text) => `name=${quoted(text)}`),
    value.map((text) => `name~${quoted(text)}`),
    value.map(quoted),
    fc.constantFrom("state=running", "memoryMiB<100", "tag:web", "template!=true", "currentSnapshotId=null"),
  );
  const { tree } = fc.letrec<{ tree: string }>((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      leaf,
      fc.tuple(tie("tree"), tie("tree")).map(([a, b]) => `(${a} and ${b})`),
      fc.tuple(tie("tree"), tie("tree")).map(([a, b]) => `(${a} or ${b})`),
      tie("tree").map((each) => `not ${each}`),
    ),
  }));
  fc.assert(fc.property(tree, (text) => assert.deepEqual(parse(write(parse(text))), parse(text))));
});

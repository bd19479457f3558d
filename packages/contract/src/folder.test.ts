/** Folders: what one may be; the schema and the words agree. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Check } from "typebox/value";
import { checkFolder, Folder } from "./folder.ts";

test("paths of names, without what is empty, hidden, or leads elsewhere", () => {
  for (const good of [
    "Production",
    "Production/Web",
    "R&D/研究",
    "a b/c d",
    "x".repeat(500),
    "...",
    ".a",
    "-a",
    "a..b",
  ]) {
    assert.equal(checkFolder(good), undefined, good);
    assert.ok(Check(Folder, good), good);
  }
  for (const [bad, words] of [
    ["", /empty/],
    ["/a", /slash/],
    ["a/", /slash/],
    ["a//b", /slash/],
    [" a", /white space/],
    ["a/ b", /white space/],
    ["a/..", /part "\.\."/],
    ["./a", /part "\."/],
    ["a\nb", /control/],
    ["a\u0000", /control/],
    ["a\u202eb", /direction/],
    ["x".repeat(501), /at most 500/],
  ] as const) {
    assert.match(checkFolder(bad) ?? "", words, JSON.stringify(bad));
  }
  assert.match(checkFolder("a\ud800") ?? "", /Unicode/);
});

test("what the words allow, the schema allows", () => {
  const text = fc
    .array(fc.constantFrom("/", ".", "a", " ", "é", "😀", "-"), { maxLength: 8 })
    .map((each) => each.join(""));
  fc.assert(fc.property(text, (folder) => assert.ok(Check(Folder, folder) || checkFolder(folder) !== undefined)));
});

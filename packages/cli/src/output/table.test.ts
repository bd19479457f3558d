/** Widths of texts, tables cut to a terminal, pages of pairs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pairText, tableText } from "#output/table.ts";
import { cutText, padText, safeText, textWidth } from "#output/text-width.ts";

test("a text's width is counted in columns of the terminal", () => {
  for (const [text, width] of [
    ["", 0],
    ["web", 3],
    ["虚拟机", 6],
    ["ｗｅｂ", 6],
    ["한국어", 6],
    ["ひらがな", 8],
    ["e\u0301", 1],
    ["👩‍💻", 2],
    ["🇨🇳", 2],
    ["a\u200bb", 2],
    ["naïve", 5],
  ] as const) {
    assert.equal(textWidth(text), width, JSON.stringify(text));
  }
});

test("cutting never splits a character and never exceeds the width", () => {
  assert.equal(cutText("虚拟机一号", 6), "虚拟…");
  assert.equal(cutText("虚拟机一号", 5), "虚拟…");
  assert.equal(cutText("abcdef", 4), "abc…");
  assert.equal(cutText("abc", 3), "abc");
  assert.equal(cutText("abc", 0), "");
  for (let width = 0; width < 12; width += 1) assert.ok(textWidth(cutText("a虚👩‍💻b拟c", width)) <= width);
});

test("padding fills by columns, on either side", () => {
  assert.equal(padText("虚拟", 6), "虚拟  ");
  assert.equal(padText("12", 5, true), "   12");
  assert.equal(padText("longer", 3), "longer");
});

test("what came from elsewhere can't steer the terminal", () => {
  assert.equal(safeText("a\u001b[2Jb\u0007\u202ec"), "a\ufffd[2Jb\ufffd\ufffdc");
  assert.equal(safeText("two\nlines"), "two lines");
});

const columns = [
  { name: "name", value: (row: { name: string; cpus: number }) => row.name },
  { name: "cpus", value: (row: { name: string; cpus: number }) => String(row.cpus), right: true },
];

test("columns are aligned by what is seen", () => {
  const rows = [
    { name: "web", cpus: 2 },
    { name: "数据库", cpus: 16 },
    { name: "", cpus: 1 },
  ];
  assert.equal(tableText(rows, columns), "NAME    CPUS\nweb        2\n数据库    16\n-          1\n");
});

test("a table is cut to the terminal, the widest column first, and is left whole for a pipe", () => {
  const rows = [{ name: "x".repeat(60), cpus: 2 }];
  const lines = tableText(rows, columns, 30).trimEnd().split("\n");
  assert.ok(
    lines.every((line) => textWidth(line) <= 30),
    lines.join("\n"),
  );
  assert.match(lines[1] ?? "", /x…\s+2$/);
  assert.ok(tableText(rows, columns).includes("x".repeat(60)));
});

test("an empty table has its head", () => {
  assert.equal(tableText([], columns, 80), "NAME  CPUS\n");
});

test("pairs are aligned and values of several lines continued", () => {
  assert.equal(
    pairText([
      ["id", "a"],
      ["磁盘", "vda\nvdb"],
    ]),
    "id    a\n磁盘  vda\n      vdb\n",
  );
});

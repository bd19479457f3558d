/** Progress: a bar that keeps to one line, lines that say each thing once, bytes that are counted and passed on. */
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { barText, countedBytes, progressView, stepLine } from "#output/progress.ts";
import { textWidth } from "#output/text-width.ts";

function captured(columns: number): { stream: PassThrough & { columns: number }; text: () => string } {
  const stream = Object.assign(new PassThrough(), { columns });
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  return { stream, text: () => text };
}

test("a bar is full at the end, empty at the start, and never longer", () => {
  assert.equal(new Set([undefined, -1, 0, 0.5, 1, 7].map((fraction) => barText(fraction).length)).size, 1);
  assert.ok(!barText(1).includes("░"));
  assert.ok(!barText(0).includes("█"));
});

test("a bar's line is cut to the terminal and can be taken away", () => {
  const { stream, text } = captured(40);
  const view = progressView(stream, true);
  view.update({ title: "vm migrate 数据库", message: "moving the guest\u001b[2J", fraction: 0.5, remainingMs: 3000 });
  // ECMA-48 EL; what came from elsewhere brings no sequence of its own.
  const line = text().replace("\r", "").replace("\u001b[K", "");
  assert.ok(textWidth(line) < 40, line);
  assert.ok(!line.includes("\u001b"));
  view.clear();
  assert.ok(text().endsWith("\r\u001b[K"));
});

test("what is quick says nothing in a pipe", () => {
  const { stream, text } = captured(80);
  const view = progressView(stream, false);
  view.update({ title: "vm start web", message: "start", fraction: 0 });
  view.clear();
  assert.equal(text(), "");
});

test("bytes are passed on as they are", async () => {
  const { stream } = captured(80);
  const chunks = [Buffer.from("ab"), Buffer.from(""), Buffer.from("c")];
  const source = (async function* () {
    yield* chunks;
  })();
  const passed: Uint8Array[] = [];
  for await (const chunk of countedBytes(source, "x", 3, progressView(stream, true))) passed.push(chunk);
  assert.deepEqual(passed, chunks);
});

test("a step's line has its time at the right edge", () => {
  assert.equal(stepLine("✔", "start", 1500, 20), "✔ start                 1.5 s");
  assert.equal(textWidth(stepLine("✔", "很长的标题".repeat(10), 1500, 20)), textWidth(stepLine("✔", "a", 1500, 20)));
});

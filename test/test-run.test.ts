/** The gate closes: a failure, a run without a test and a skip without a reason each make `inn test` fail. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { TestRunResult } from "../tool/test-run.ts";

const runner = pathToFileURL(path.resolve(import.meta.dirname, "../tool/test-run.ts")).href;
const head = `import { test } from "node:test";\n`;

interface Outcome {
  readonly result: TestRunResult;
  readonly output: string;
}

/** Runs each text as a test file: the first in a first phase, the others in a second. */
async function gate(texts: readonly string[]): Promise<Outcome> {
  await using folder = await mkdtempDisposable(path.join(tmpdir(), "test-run-"));
  const files = texts.map((_text, index) => path.join(folder.path, `planted-${index}.test.mjs`));
  await Promise.all(files.map((file, index) => writeFile(file, texts[index] ?? "")));
  const phases = [files.slice(0, 1), files.slice(1)].map((list) => ({ files: list, concurrency: 1 }));
  const program = `import { runTests } from ${JSON.stringify(runner)};
const result = await runTests(${JSON.stringify(phases)}, ${JSON.stringify(folder.path)}, AbortSignal.timeout(60_000));
console.log("RESULT" + JSON.stringify(result));`;
  // This file is itself run by the test runner, which marks its children by this variable.
  const { NODE_TEST_CONTEXT: _mark, ...env } = process.env;
  const programFile = path.join(folder.path, "program.mjs");
  await writeFile(programFile, program);
  const output = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, [programFile], { env }, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
  });
  const [text = "", result = "{}"] = output.split("RESULT");
  return { result: JSON.parse(result) as Outcome["result"], output: text };
}

suite("the gate", { concurrency: 2 }, () => {
  test("passes when all tests of all phases pass, and counts them as one run", async () => {
    const { result, output } = await gate([
      `${head}test("a", () => {});`,
      `${head}test("b", () => {}); test("c", () => {});`,
    ]);
    assert.deepEqual(result, { passed: true, complaints: [], failedFiles: [] });
    assert.equal(output.match(/tests 3\n/gu)?.length, 1, output);
    assert.equal(output.match(/pass 3\n/gu)?.length, 1, output);
    assert.equal(output.match(/duration_ms/gu)?.length, 1, output);
  });

  test("fails when a test of any phase fails, and shows it", async () => {
    const { result, output } = await gate([
      `${head}test("a", () => { throw new Error("planted"); });`,
      `${head}test("b", () => {});`,
    ]);
    assert.equal(result.passed, false);
    assert.equal(result.failedFiles.length, 1);
    assert.match(output, /fail 1\n/u);
    assert.match(output, /planted/u);
  });

  test("fails when a file breaks before its first test", async () => {
    assert.equal((await gate([`throw new Error("planted");`])).result.passed, false);
  });

  test("fails when nothing ran", async () => {
    assert.deepEqual((await gate([])).result.complaints, ["no test ran"]);
  });

  test("fails when one file has no test", async () => {
    const { result } = await gate([`${head}test("a", () => {});`, `export {};`]);
    assert.equal(result.passed, false);
    assert.deepEqual(result.complaints, ["planted-1.test.mjs has no test"]);
  });

  test("fails when a skip or a todo names no reason", async () => {
    const { result } = await gate([`${head}test("a", { skip: true }, () => {}); test("b", { todo: true }, () => {});`]);
    assert.equal(result.passed, false);
    assert.deepEqual(result.complaints, ['"a" is skipped without a reason', '"b" is a todo without a reason']);
    assert.equal((await gate([`${head}test("a", { skip: "no KVM here" }, () => {});`])).result.passed, true);
  });
});

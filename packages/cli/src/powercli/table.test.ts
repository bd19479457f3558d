/** The cmdlets as a whole: named as PowerCLI names them, each explained, documented and without contradictions. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import { bind } from "#powercli/bind.ts";
import { allParameters, allRefused } from "#powercli/signature.ts";
import { helpText } from "#powercli/help.ts";
import { cmdletAt, cmdletNamed, cmdlets, insteadOf } from "#powercli/table.ts";
import { captured } from "#test-support/captured.ts";

const all = await Promise.all(Object.entries(cmdlets).map(async ([name, load]) => ({ name, cmdlet: await load() })));

/** The words of an example, which has only double and single quotes. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, plain]) => double ?? single ?? plain ?? "",
  );
}

suite("cmdlets", () => {
  test("each is filed under its own name and uses operations that there are", () => {
    for (const { name, cmdlet } of all) {
      assert.equal(cmdlet.name, name);
      assert.ok(cmdlet.operations.length > 0, name);
      for (const operation of cmdlet.operations) assert.ok(Object.hasOwn(endpoint, operation), `${name}: ${operation}`);
    }
  });

  test("no parameter is taken and refused, none is there twice, positions have no holes", () => {
    for (const { name, cmdlet } of all) {
      const names = cmdlet.parameters.flatMap((parameter) => [parameter.name, ...(parameter.aliases ?? [])]);
      const taken = names.map((each) => each.toLowerCase());
      assert.equal(new Set(taken).size, taken.length, name);
      for (const refused of Object.keys(allRefused(cmdlet))) {
        assert.ok(!taken.includes(refused.toLowerCase()), `${name} takes and refuses -${refused}`);
      }
      const positions = cmdlet.parameters.flatMap(({ position }) => position ?? []).toSorted();
      assert.deepEqual(positions, [...positions.keys()], name);
      for (const { pipeline, required } of cmdlet.parameters) assert.ok(pipeline !== true || required === true, name);
    }
  });

  test("every example is understood", () => {
    for (const { name, cmdlet } of all) {
      assert.ok(cmdlet.examples.length > 0, name);
      for (const example of cmdlet.examples) {
        const own = example.split("|").map((part) => wordsOf(part.trim().replace(/^inn /, "")));
        assert.ok(
          own.some(([first]) => first === name),
          `"${example}" is no example of ${name}`,
        );
        for (const [first = "", ...words] of own.filter(([first]) => first === name)) {
          assert.equal(cmdletNamed(first), name);
          bind(cmdlet, words);
        }
      }
    }
  });

  test("help says all there is", async () => {
    for (const { name, cmdlet } of all) {
      const { output, exitCode } = await captured([name.toUpperCase(), "-?"]);
      assert.equal(exitCode, 0);
      assert.equal(output, helpText(cmdlet));
      for (const parameter of allParameters(cmdlet))
        assert.ok(output.includes(`-${parameter.name} `), `${name} ${parameter.name}`);
      for (const refused of Object.keys(cmdlet.refused ?? {}))
        assert.ok(output.includes(`-${refused} `), `${name} ${refused}`);
    }
  });

  test("each is in the documentation", () => {
    const text = readFileSync(path.resolve(import.meta.dirname, "../../../../docs/powercli.md"), "utf8");
    for (const { name } of all) assert.ok(text.includes(`\`${name}\``), `docs/powercli.md does not mention ${name}`);
  });

  test("what looks like a cmdlet is one, or is told what to do instead", async () => {
    assert.equal(cmdletAt(["get-vm", "x"]), 0);
    assert.equal(cmdletAt(["-o", "json", "GET-VM"]), 2);
    for (const words of [["vm", "list"], ["virt-install", "--name", "x"], ["vm", "start", "Get-VM"], ["--help"], []]) {
      assert.equal(cmdletAt(words), -1, words.join(" "));
    }
    assert.match(insteadOf("set-cluster") ?? "", /inn cluster set/);
    const { exitCode, errors } = await captured(["New-Folder", "x"]);
    assert.equal(exitCode, 64);
    assert.match(errors, /there is no New-Folder\n.*inn vm set VM --folder/);
    assert.match((await captured(["Revert-Snapshot", "x"])).errors, /inn Set-VM -VM … -Snapshot/);
  });

  test("aliases run them without inn", async () => {
    const { output } = await captured(["powercli", "--aliases"]);
    for (const { name } of all) {
      assert.ok(output.includes(`alias ${name}='inn ${name}'\n`), name);
      assert.ok(output.includes(`alias ${name.toLowerCase()}='inn ${name}'\n`), name);
    }
  });
});

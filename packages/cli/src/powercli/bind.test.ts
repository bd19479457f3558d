/** Command lines as they are typed, copied from blogs, and as shells hand them over. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { CliError } from "#cli-error.ts";
import { bind } from "#powercli/bind.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";

const cmdlet: Cmdlet = {
  name: "New-Thing",
  summary: "",
  operations: [],
  impact: "asks",
  parameters: [
    { name: "VM", list: true, position: 0, required: true, pipeline: true, help: "" },
    { name: "Name", position: 1, required: true, help: "" },
    { name: "Description", aliases: ["Notes"], help: "" },
    { name: "MemoryGB", type: "decimal", help: "" },
    { name: "MemoryMB", type: "integer", help: "" },
    { name: "DiskGB", type: "decimal", list: true, help: "" },
    { name: "Format", words: ["Thin", "Thick"], help: "" },
    { name: "RunAsync", type: "switch", help: "" },
    { name: "Connected", type: "boolean", help: "" },
  ],
  refused: { OSCustomizationSpec: "there is none yet" },
  examples: [],
  run: async () => undefined,
};

function bound(...words: string[]) {
  return bind(cmdlet, words);
}

function refused(words: readonly string[], message: RegExp, exitCode: number): void {
  assert.throws(
    () => bind(cmdlet, words),
    (error) => {
      assert.ok(error instanceof CliError, String(error));
      assert.match(`${error.message} ${error.detail.field ?? ""}`, message);
      assert.equal(error.detail.exitCode, exitCode, error.message);
      return true;
    },
  );
}

suite("binding", () => {
  test("as the issue types it, in any case, with prefixes and aliases", () => {
    for (const words of [
      ["-VM", "Ubuntu-Server", "-Name", "Backup-2024-01", "-Description", "Monthly backup snapshot"],
      ["-vm", "Ubuntu-Server", "-NAME", "Backup-2024-01", "-desc", "Monthly backup snapshot"],
      ["-vm:Ubuntu-Server", "-na:Backup-2024-01", "-notes", "Monthly backup snapshot"],
      ["Ubuntu-Server", "Backup-2024-01", "-Des", "Monthly backup snapshot"],
      ["–VM", "Ubuntu-Server", "—Name", "Backup-2024-01", "―Description", "Monthly backup snapshot"],
    ]) {
      const values = bind(cmdlet, words);
      assert.deepEqual(values.texts("VM"), ["Ubuntu-Server"]);
      assert.equal(values.text("Name"), "Backup-2024-01");
      assert.equal(values.text("Description"), "Monthly backup snapshot");
    }
  });

  test("lists, with and without spaces, with a comma that is meant", () => {
    assert.deepEqual(bound("-VM", "a,b", "-Name", "x").texts("VM"), ["a", "b"]);
    assert.deepEqual(bound("-VM", "a,", "b", ",c", "-Name", "x").texts("VM"), ["a", "b", "c"]);
    assert.deepEqual(bound("a,", "b", "x").texts("VM"), ["a", "b"]);
    assert.deepEqual(bound("a`,b", "x").texts("VM"), ["a,b"]);
    assert.deepEqual(bound("a`[1`]", "x").texts("VM"), ["a`[1`]"]);
    assert.deepEqual(bound("w", "x", "-DiskGB", "20,40.5").numbers("DiskGB"), [20, 40.5]);
    // A comma in what is no list is a comma.
    assert.equal(bound("w", "a,b", "-Notes", "x, y").text("Description"), "x, y");
    assert.equal(bound("w", "a,b").text("Name"), "a,b");
  });

  test("switches and booleans as bash, PowerShell and cmd hand them over", () => {
    assert.equal(bound("w", "x", "-RunAsync").flag("RunAsync"), true);
    for (const words of [["-Confirm:$false"], ["-Confirm:"], ["-Confirm:", "False"], ["-confirm:false"], ["-cf:0"]]) {
      assert.equal(bound("w", "x", ...words).flag("Confirm"), false, words.join(" "));
    }
    assert.equal(bound("w", "x", "-Confirm").flag("Confirm"), true);
    assert.equal(bound("w", "x", "-Confirm:", "-RunAsync").flag("RunAsync"), true);
    assert.equal(bound("w", "x", "-RunAsync:$false").flag("RunAsync"), false);
    assert.equal(bound("w", "x", "-Connected", "$true").flag("Connected"), true);
    assert.equal(bound("w", "x", "-Connected:false").flag("Connected"), false);
    refused(["w", "x", "-RunAsync:"], /the shell has taken/, 65);
    refused(["w", "x", "-Connected"], /-Connected needs a value/, 64);
    refused(["w", "x", "-Connected", "maybe"], /"maybe" is neither.*-Connected/, 65);
  });

  test("positions; what standard input gives is left to it", () => {
    const piped = bound("before");
    assert.equal(piped.text("Name"), "before");
    assert.equal(piped.has("VM"), false);
    assert.equal(bound("-VM", "w", "before").text("Name"), "before");
    refused(["w", "x", "y"], /"y" belongs to no parameter/, 64);
    refused(["-VM", "w"], /needs -Name/, 64);
  });

  test("values", () => {
    assert.equal(bound("w", "x", "-MemoryGB", "1.5").number("MemoryGB"), 1.5);
    assert.equal(bound("w", "x", "-MemoryGB", "-1").number("MemoryGB"), -1);
    assert.equal(bound("w", "x", "-Format", "thin").text("Format"), "Thin");
    assert.equal(bound("w", "-Name:-dash").text("Name"), "-dash");
    assert.equal(bound("w", "x", "-Notes", "- a list").text("Description"), "- a list");
    assert.equal(bound("w", "x", "-Notes", "").text("Description"), "");
    refused(["w", "x", "-MemoryGB", "lots"], /"lots" is no number -MemoryGB/, 65);
    refused(["w", "x", "-MemoryGB", "4GB"], /"4GB" is no number -MemoryGB/, 65);
    refused(["w", "x", "-MemoryMB", "1.5"], /"1.5" is no whole number -MemoryMB/, 65);
    refused(["w", "x", "-DiskGB", "99999999999999999999"], /is no number -DiskGB/, 65);
    for (const empty of ["", " ", ",", " , "]) refused(["-VM", empty, "-Name", "x"], /it is empty -VM/, 65);
    refused(["w", "x", "-Format", "Fat"], /"Fat" is none of Thin, Thick -Format/, 65);
  });

  test("what is not understood is refused by name", () => {
    refused(["w", "x", "-Color", "red"], /has no parameter -Color/, 64);
    refused(["w", "x", "-Memory", "1"], /-Memory is ambiguous/, 64);
    refused(["w", "x", "-D", "y"], /-D is ambiguous/, 64);
    refused(["w", "x", "-OSCustomizationSpec", "y"], /does not have -OSCustomizationSpec: there is none yet/, 64);
    refused(["w", "x", "-OSC", "y"], /does not have -OSCustomizationSpec/, 64);
    refused(["w", "x", "-Name", "y", "-name", "z"], /-Name is given twice/, 64);
    refused(["w", "x", "-OutVariable", "y"], /does not have -OutVariable/, 64);
    refused(["w", "x", "--force"], /there is no option --force/, 64);
    refused(["w", "-Name"], /-Name needs a value/, 64);
    refused(["w", "-Name", "-RunAsync"], /-Name needs a value/, 64);
  });

  test("inn's own options", () => {
    assert.equal(bound("w", "x", "-o", "json").output, "json");
    assert.equal(bound("w", "x", "-oyaml").output, "yaml");
    assert.equal(bound("w", "x", "--output=name").output, "name");
    assert.equal(bound("w", "x", "-s", "lab").text("Server"), "lab");
    for (const word of ["-?", "--help", "-h"]) assert.equal(bound(word).wantsHelp, true);
  });
});

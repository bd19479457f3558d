/** The tree of commands as a whole: every endpoint of the contract has its verb under the name that follows from its id. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { PassThrough } from "node:stream";
import { suite, test } from "node:test";
import type { Command } from "commander";
import { endpoint, type OperationId } from "@innkeeper/contract/endpoint/table.ts";
import { errorCode, errorCodes } from "@innkeeper/contract/error-code.ts";
import { neverAborted } from "#client.ts";
import { lookup } from "#lookup.ts";
import { commandTree } from "#run.ts";
import type { Terminal } from "#terminal.ts";
import { verbOf } from "#verb.ts";

const terminal: Terminal = {
  input: new PassThrough(),
  output: new PassThrough(),
  errors: new PassThrough(),
  outputIsTerminal: false,
  errorsIsTerminal: false,
  inputIsTerminal: false,
  width: () => undefined,
};
const root = await commandTree({ terminal, environment: {}, signal: neverAborted, version: "0" }, () => true);

interface Leaf {
  readonly path: string;
  readonly command: Command;
}

function leaves(command: Command, prefix = ""): Leaf[] {
  return command.commands.flatMap((child) => {
    const path = `${prefix} ${child.name()}`.trim();
    return child.commands.length > 0 ? leaves(child, path) : [{ path, command: child }];
  });
}

/** Verbs that are not named after their operation, because people say it otherwise. */
const named: Readonly<Partial<Record<OperationId, string>>> = {
  login: "login",
  logout: "logout",
  me: "whoami",
  watch: "event watch",
  clusterChange: "cluster set",
  hostChange: "host set",
  poolChange: "pool set",
  vmChange: "vm set",
  vmMigrationCheck: "vm migrate",
  vmStatistics: "vm stats",
  userChange: "user set",
  systemGet: "system show",
  systemBackup: "backup-config",
  tokenList: "user token list",
  tokenCreate: "user token create",
  tokenDelete: "user token delete",
};

/** `vmForceOff` → `vm force-off`, `hostGet` → `host show`. */
function expectedPath(operation: OperationId): string {
  const found = named[operation];
  if (found !== undefined) return found;
  const words = operation.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).split(" ");
  const [noun = "", ...verb] = words;
  return `${noun} ${verb.join("-") === "get" ? "show" : verb.join("-")}`;
}

suite("commands", () => {
  const all = leaves(root);

  test("every endpoint is reached by the verb of its name", () => {
    const operations = Object.keys(endpoint) as OperationId[];
    assert.ok(operations.length > 50);
    for (const operation of operations) {
      const path = expectedPath(operation);
      const leaf = all.find((candidate) => candidate.path === path);
      assert.ok(leaf !== undefined, `${operation} has no verb "${path}"`);
      assert.ok(verbOf(leaf.command)?.operations.includes(operation), `"${path}" does not declare ${operation}`);
    }
  });

  test("every verb has a summary, and its examples are its own", () => {
    for (const { path, command } of all) {
      assert.notEqual(command.description(), "", path);
      for (const example of verbOf(command)?.examples ?? []) {
        const names = [path, ...command.aliases().map((alias) => path.replace(/\S+$/, alias))];
        assert.ok(
          names.some((name) => example.includes(name)),
          `"${example}" is no example of ${path}`,
        );
      }
    }
  });

  test("every exit code is in the documentation", () => {
    const text = readFileSync(path.resolve(import.meta.dirname, "../../../docs/cli.md"), "utf8");
    for (const code of errorCodes) {
      const { exitCode } = errorCode[code];
      assert.ok(
        text.includes(`\n| ${exitCode} |`),
        `${code} exits with ${exitCode}, which docs/cli.md does not explain`,
      );
    }
  });

  test("no option means two things", () => {
    for (const { path, command } of all) {
      const flags = command.options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined);
      assert.equal(new Set(flags).size, flags.length, `${path} has an option twice`);
      const global = root.options.flatMap(({ short, long }) => [short, long]);
      for (const flag of flags) assert.ok(!global.includes(flag), `${path} ${flag} hides the option of all commands`);
    }
  });

  test("arguments that are nouns can be completed", () => {
    const argumentNames = new Set(all.flatMap(({ command }) => command.registeredArguments.map((each) => each.name())));
    for (const noun of Object.keys(lookup)) assert.ok(argumentNames.has(noun), `no verb has an argument <${noun}>`);
  });
});

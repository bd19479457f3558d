/**
 * Each verb, run with plain arguments, really makes the call of the operation that it declares: a server that only notes
 * what it is asked, and answers with as little as a verb needs to go on.
 */
import assert from "node:assert/strict";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import type { Command } from "commander";
import { endpoint, type OperationId } from "@innkeeper/contract/endpoint/table.ts";
import { route } from "#generated/route.ts";
import { commandTree } from "#run.ts";
import { captured } from "#test-support/captured.ts";
import { processTerminal } from "#terminal.ts";
import { verbOf } from "#verb.ts";

/** What a verb's arguments may be, by their names in its usage. */
const argumentWords: Readonly<Record<string, string>> = {
  size: "2G",
  uri: "qemu:///system",
  task: "task-000000000000",
};
/** Options without which a verb has nothing to do, or does not call the operation; FILE is a file that is there. */
const optionWords: Readonly<Record<string, string>> = {
  "cluster set": "--description x",
  "host set": "--maintenance",
  "pool set": "--shared",
  "pool create": "--host x --path /x",
  "volume create": "--pool x --size 1G",
  "image create": "--volume x",
  "image upload": "--pool x --sha256 0",
  "network create": "--host x --isolated",
  "user create": "--role operator",
  "user set": "--disable",
  "user password": "--current-password-file FILE",
  "vm create": "--memory 1G",
  "vm preview": "--memory 1G",
  "vm set": "--vcpus 2",
  "vm edit": "--file FILE",
  "vm console": "--pipe",
  login: "--user x",
  vmMigrationCheck: "--check",
};

const resource = {
  id: "x",
  name: "x",
  revision: 1,
  vmId: "x",
  hostId: "x",
  state: "succeeded",
  steps: [],
  progress: { done: 1, total: 1 },
};
const created = {
  ...resource,
  token: resource,
  secret: "s",
  user: resource,
  expiresAt: "2030-01-01T00:00:00Z",
  operation: "x.x",
};

suite("calls", () => {
  const called = new Set<OperationId>();
  const patterns = Object.entries(route).map(([operation, { method, path }]) => ({
    operation: operation as OperationId,
    method,
    pattern: new RegExp(`^/api/v1${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
  }));
  const server = createServer((request, response) => {
    request.resume();
    const { pathname } = new URL(request.url ?? "", "http://x");
    const found = patterns.find(({ method, pattern }) => method === request.method && pattern.test(pathname));
    if (found !== undefined) called.add(found.operation);
    const isList = found?.operation.endsWith("List") === true;
    const { status } = found === undefined ? { status: 404 } : endpoint[found.operation];
    if (found?.operation === "watch") {
      // A refusal ends a watch.
      const problem = { type: "", title: "no", status: 403, code: "forbidden" };
      response.writeHead(403, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
      return;
    }
    response.writeHead(status, { "content-type": "application/json" });
    response.end(
      status === 204 ? "" : JSON.stringify(isList ? { items: [resource], totalCount: 1, revision: 1 } : created),
    );
  });
  let folder: AsyncDisposable & { readonly path: string };
  let url: string;
  before(async () => {
    folder = await mkdtempDisposable(path.join(tmpdir(), "inn-call-"));
    await writeFile(path.join(folder.path, "file"), "content");
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    await folder[Symbol.asyncDispose]();
  });

  /** The words of a plain use of a verb. */
  function wordsOf(command: Command, words: readonly string[], operation: OperationId): string[] {
    const args = command.registeredArguments.map((argument) => {
      const name = argument.name();
      // A download must not overwrite what an upload reads.
      if (name === "file") return path.join(folder.path, words.includes("upload") ? "file" : `${words.join("-")}.out`);
      return name === "server" ? url : (argumentWords[name] ?? "x");
    });
    const options = (optionWords[operation] ?? optionWords[words.join(" ")] ?? "")
      .split(" ")
      .filter((word) => word !== "")
      .map((word) => (word === "FILE" ? path.join(folder.path, "file") : word));
    const yes = command.options.some(({ long }) => long === "--yes") ? ["--yes"] : [];
    return [...words, ...args, ...options, ...yes, "-o", "json"];
  }

  async function runAll(command: Command, words: readonly string[]): Promise<void> {
    for (const child of command.commands) {
      const path = [...words, child.name()];
      if (child.commands.length > 0) await runAll(child, path);
      for (const operation of verbOf(child)?.operations ?? []) {
        called.clear();
        const environment = { INN_SERVER: url, INN_PASSWORD: "a long password", XDG_CONFIG_HOME: folder.path };
        const { errors } = await captured(wordsOf(child, path, operation), { environment });
        assert.ok(called.has(operation), `inn ${path.join(" ")} did not call ${operation}: ${errors}`);
      }
    }
  }

  test("every verb calls the operation that it declares", async () => {
    const surroundings = {
      terminal: processTerminal(),
      environment: {},
      signal: AbortSignal.timeout(60_000),
      version: "0",
    };
    await runAll(await commandTree(surroundings, () => true), []);
  });
});

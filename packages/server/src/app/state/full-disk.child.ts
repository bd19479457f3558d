/**
 * Run by the test of the full disk, on a file system of 16 MiB: the whole control plane, whose disk fills up while a task
 * runs. Reads go on, writes are refused by name, backups and restores leave nothing, and when there is space again all
 * goes on by itself.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Type } from "typebox";
import { silentLogger } from "#core/log.ts";
import { operation } from "#management/task/operation.ts";
import { startServer } from "../server.ts";
import { testConfig } from "../test-support/test-config.ts";
import { wire } from "../wire.ts";
import { restoreState } from "./restore.ts";

const directory = process.argv[2] ?? "";
const stateFolder = path.join(directory, "state");
const ballast = path.join(directory, "ballast");
const adminPassword = "correct horse";
const gate = Promise.withResolvers<void>();

const server = await startServer(testConfig(stateFolder, { adminPassword }), {
  log: silentLogger,
  wire: (base) => {
    const wiring = wire(base);
    const gated = operation({
      name: "pool.create",
      input: Type.Unknown(),
      claims: () => ({ exclusive: ["gated"] }),
      target: () => undefined,
      steps: [
        { name: "wait", do: () => gate.promise },
        { name: "end", do: async () => {} },
      ],
    });
    return { ...wiring, operations: [...wiring.operations.filter(({ name }) => name !== gated.name), gated] };
  },
});

let token = "";
async function call(method: string, where: string, body?: object) {
  const response = await fetch(`${server.url}/api/v1${where}`, {
    method,
    headers: {
      ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(60_000),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = response.headers.get("content-type")?.includes("json") === true;
  const json = (isJson ? JSON.parse(bytes.toString()) : {}) as Record<string, unknown>;
  return { status: response.status, bytes, json };
}

function fill(): void {
  const { bavail, bsize } = statfsSync(directory);
  writeFileSync(ballast, Buffer.alloc(bavail * bsize));
}

const user = (name: string, fullName = "") => ({ name, password: adminPassword, role: "operator", fullName });

token = String((await call("POST", "/login", { name: "admin", password: adminPassword })).json["secret"]);
const backup = await call("POST", "/system/backup", { password: adminPassword });
assert.equal(backup.status, 200);
assert.equal((await call("POST", "/users", user("before"))).status, 201);
const pool = { host: "h1", name: "p", type: "dir", path: "/p" };
const task = await call("POST", "/pools", pool);
assert.equal(task.status, 202);

fill();
// Pages that are free in the write-ahead log may take a few writes yet.
let refused = await call("POST", "/users", user("full0", "x".repeat(200)));
for (let count = 1; refused.status === 201 && count < 200; count++) {
  refused = await call("POST", "/users", user(`full${count}`, "x".repeat(200)));
}
assert.equal(refused.status, 507);
assert.equal(refused.json["code"], "disk_full");
assert.match(String(refused.json["detail"]), /No space is left for the store .*store\.sqlite; the change was not made/);
assert.equal((await call("GET", "/health")).status, 507);
gate.resolve();
for (const where of ["/users", "/tasks", "/events", "/system", "/me"]) {
  assert.equal((await call("GET", where)).status, 200, where);
}
const full = await call("POST", "/system/backup", { password: adminPassword });
assert.deepEqual([full.status, full.json["code"]], [507, "disk_full"]);
assert.deepEqual(readdirSync(path.join(stateFolder, "backup")), []);
assert.equal((await call("GET", `/tasks/${String(task.json["id"])}`)).json["state"], "running");

rmSync(ballast);
assert.equal((await call("POST", "/users", user("after"))).status, 201);
const ended = await call("GET", `/tasks/${String(task.json["id"])}?waitMs=30000`);
assert.equal(ended.json["state"], "succeeded");
assert.equal((await call("GET", "/health")).status, 200);
await server.close();

fill();
async function* content(): AsyncGenerator<Uint8Array> {
  yield backup.bytes;
}
const before = readdirSync(stateFolder).toSorted();
await assert.rejects(
  restoreState({ stateFolder, content: content(), password: async () => adminPassword, checkOnly: false }),
  (error: { code?: string }) => error.code === "disk_full" || error.code === "ENOSPC",
);
assert.deepEqual(readdirSync(stateFolder).toSorted(), before);
assert.ok(!existsSync(path.join(stateFolder, ".placing")));
process.stdout.write("recovered\n");
process.exit(0);

/**
 * Run by the test of the full disk, with PostgreSQL's data on a file system of its own: that fills up under a whole control
 * plane, first so that tables can't grow, then so that PostgreSQL itself gives up.
 */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { systemClock } from "#core/system-clock.ts";
import { PostgresServer } from "#store/postgres/test-support/postgres-server.ts";
import { startGatedServer } from "../test-support/gated-server.ts";
import { Watcher } from "../test-support/watcher.ts";

const directory = process.argv[2] ?? "";
const ballast = path.join(directory, "ballast");
chmodSync(directory, 0o755);
const stateFolder = mkdtempSync(path.join(tmpdir(), "inn-full-state-"));
process.once("exit", () => rmSync(stateFolder, { recursive: true, force: true }));

function fill(): void {
  const { bavail, bsize } = statfsSync(directory);
  writeFileSync(ballast, Buffer.alloc(bavail * bsize));
}

const postgres = await PostgresServer.start({
  parent: directory,
  settings: ["min_wal_size = 32MB", "max_wal_size = 32MB"],
});
const server = await startGatedServer(stateFolder, { store: { url: await postgres.database() }, takeoverMs: 2000 });
const { call, newUser } = server;
const revision = async (): Promise<number> => Number((await call("GET", "/system")).json["revision"]);
await using watcher = new Watcher(() => server.url, server.token, await revision());
const made = ["before"];
assert.equal((await newUser("before")).status, 201);
const taskId = await server.beginTask();

/** What it was refused with. */
async function untilRefused(names: string): Promise<string> {
  // Pages that have room take a few writes yet.
  for (let count = 0; count < 200; count++) {
    const name = `${names}${count}`;
    const { status, json } = await newUser(name, "x".repeat(200));
    if (status !== 201) return `${status} ${["code", "detail", "remedy"].map((key) => String(json[key])).join(" ")}`;
    made.push(name);
  }
  throw new Error("nothing was refused");
}
async function readable(): Promise<void> {
  for (const where of ["/users", "/tasks", "/events", "/system", "/me"]) {
    assert.equal((await call("GET", where)).status, 200, where);
  }
}

fill();
assert.match(
  await untilRefused("full"),
  /^507 disk_full No space is left for the store .* the change was not made.*Free space/,
);
await readable();
// What PostgreSQL does every few minutes: now it can't, and ends.
await assert.rejects(postgres.ask("checkpoint"));
assert.match(
  await untilRefused("gone"),
  /^503 store_unavailable The store .*; (nothing was changed|the change was not made)/,
);
await readable();
assert.notEqual((await call("GET", "/health")).status, 200);
server.letGo();
assert.equal((await call("GET", `/tasks/${taskId}`)).json["state"], "running");

rmSync(ballast);
await postgres.restart();
const signal = AbortSignal.timeout(60_000);
while ((await newUser("after")).status !== 201) await systemClock.sleep(100, signal);
made.push("after");
const ended = await call("GET", `/tasks/${taskId}?waitMs=30000`);
assert.equal(ended.json["state"], "succeeded");
assert.equal((await call("GET", "/health")).status, 200);
const { items } = (await call("GET", "/users?limit=1000")).json as { items: { name: string }[] };
const names = items.map(({ name }) => name);
assert.deepEqual(
  made.filter((name) => !names.includes(name)),
  [],
  "what was answered with success is there",
);
const end = await revision();
while (watcher.last < end) await systemClock.sleep(20, signal);
assert.deepEqual([watcher.connects, watcher.gaps(), watcher.refusals], [1, [], []]);
await watcher[Symbol.asyncDispose]();
await server[Symbol.asyncDispose]();
await postgres[Symbol.asyncDispose]();
process.stdout.write("recovered\n");
process.exit(0);

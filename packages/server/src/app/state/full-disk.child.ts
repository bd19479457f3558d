/**
 * Run by the test of the full disk, on a file system of 16 MiB: the whole control plane, whose disk fills up while a task
 * runs, a client watches and its host changes. Reads go on, writes are refused by name, backups and restores leave
 * nothing, and when there is space again all goes on by itself.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { systemClock } from "#core/system-clock.ts";
import { adminPassword, startGatedServer } from "../test-support/gated-server.ts";
import { listeningSimHost, withoutKvm } from "../test-support/sim-host.ts";
import { Watcher } from "../test-support/watcher.ts";
import { restoreState } from "./restore.ts";

const directory = process.argv[2] ?? "";
const stateFolder = path.join(directory, "state");
const ballast = path.join(directory, "ballast");

function fill(): void {
  const { bavail, bsize } = statfsSync(directory);
  writeFileSync(ballast, Buffer.alloc(bavail * bsize));
}

const server = await startGatedServer(stateFolder);
const { call, newUser } = server;
const revision = async (): Promise<number> => Number((await call("GET", "/system")).json["revision"]);
const backup = await call("POST", "/system/backup", { password: adminPassword });
assert.equal(backup.status, 200);
await using watcher = new Watcher(() => server.url, server.token, await revision());
assert.equal((await newUser("before")).status, 201);
await using sim = await listeningSimHost(withoutKvm);
const succeed = async (where: string, body: object): Promise<void> => {
  const { json } = await call("POST", `${where}?waitMs=30000`, body);
  assert.equal(json["state"], "succeeded", JSON.stringify(json["error"]));
};
await succeed("/hosts", { name: "h1", uri: sim.uri });
await succeed("/vms", { name: "guest", host: "h1", memory: { sizeMiB: 64 }, start: true });
const guestState = async (): Promise<unknown> => {
  const { items } = (await call("GET", "/vms")).json as { items: { state: string }[] };
  return items[0]?.state;
};
assert.equal(await guestState(), "running");
const taskId = await server.beginTask();

fill();
// Pages that are free in the write-ahead log may take a few writes yet.
let refused = await newUser("full0", "x".repeat(200));
for (let count = 1; refused.status === 201 && count < 200; count++) {
  refused = await newUser(`full${count}`, "x".repeat(200));
}
assert.equal(refused.status, 507);
assert.equal(refused.json["code"], "disk_full");
assert.match(String(refused.json["detail"]), /No space is left for the store .*store\.sqlite; the change was not made/);
assert.match(String(refused.json["remedy"]), /Free space/);
assert.equal((await call("GET", "/health")).status, 507);
server.letGo();
// Nobody can be told of it now.
sim.cutPower("guest");
for (const where of ["/users", "/tasks", "/events", "/system", "/me"]) {
  assert.equal((await call("GET", where)).status, 200, where);
}
const full = await call("POST", "/system/backup", { password: adminPassword });
assert.deepEqual([full.status, full.json["code"]], [507, "disk_full"]);
assert.deepEqual(readdirSync(path.join(stateFolder, "backup")), []);
assert.equal((await call("GET", `/tasks/${taskId}`)).json["state"], "running");

await systemClock.sleep(50);
assert.equal(await guestState(), "running", "as it was known last");
const freedAtMs = Date.now();
rmSync(ballast);
assert.equal((await newUser("after")).status, 201);
const ended = await call("GET", `/tasks/${taskId}?waitMs=30000`);
assert.equal(ended.json["state"], "succeeded");
assert.equal((await call("GET", "/health")).status, 200);
const signal = AbortSignal.timeout(30_000);
const stopped = async (): Promise<readonly { time: string }[]> =>
  (await call("GET", "/events?filter=type%3Dvm.stopped")).json["items"] as { time: string }[];
while ((await guestState()) !== "shutoff" || (await stopped()).length === 0) await systemClock.sleep(50, signal);
const [event, ...more] = await stopped();
assert.deepEqual(more, []);
assert.ok(Date.parse(event?.time ?? "") <= freedAtMs, "when it happened, not when it could be stored");
const end = await revision();
while (watcher.last < end) await systemClock.sleep(10, signal);
assert.deepEqual([watcher.connects, watcher.gaps(), watcher.refusals], [1, [], []]);
await watcher[Symbol.asyncDispose]();
await server[Symbol.asyncDispose]();
await sim[Symbol.asyncDispose]();

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

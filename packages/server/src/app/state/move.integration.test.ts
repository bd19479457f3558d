/** A store that moves between the state folder and a real PostgreSQL, as it is, whatever interrupts it; and backups of either. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { newId } from "@innkeeper/contract/id.ts";
import { silentLogger } from "#core/log.ts";
import { stateLayout } from "#core/state-layout.ts";
import { systemClock } from "#core/system-clock.ts";
import { BackupService } from "#management/backup/backup-service.ts";
import { eventDraft } from "#store/conformance.ts";
import { PostgresServer } from "#store/postgres/test-support/postgres-server.ts";
import { openSqliteDatabase } from "#store/sqlite/sqlite-store.ts";
import { contentOf, type StoreContent } from "#store/transfer.ts";
import { moveStore } from "./move.ts";
import { openState, type OpenState } from "./open.ts";
import { restoreState } from "./restore.ts";

const password = "correct horse";

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start();
});
after(() => server[Symbol.asyncDispose]());

async function emptyFolder(context: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-move-"));
  context.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const words = ["plain", '中文 🙂 \u0000 "quoted" \\ \n', "é".normalize("NFD"), "\ud800 alone", "x".repeat(5000)];

async function fill({ store }: OpenState, events: number): Promise<void> {
  await store.transaction(async (transaction) => {
    for (let index = 0; index < events; index++) {
      await transaction.put("event", eventDraft(`${index} ${words[index % 7] ?? ""}`));
    }
    await transaction.putPrivate("password", newId("user"), "a hash");
    await transaction.putPrivate("credential", "Ünïcode key", { type: "session", nested: [1, 2.5, null, true] });
  });
  await store.transaction(async (transaction) => {
    for (const event of (await transaction.list("event")).slice(0, 5)) await transaction.delete("event", event.id);
  });
}

async function madeState(context: TestContext, events = 50): Promise<string> {
  const folder = await emptyFolder(context);
  await using state = await openState(folder);
  await fill(state, events);
  return folder;
}

async function contentOfFolder(folder: string): Promise<StoreContent> {
  const { kysely, close } = await openSqliteDatabase({ file: stateLayout(folder).store });
  return contentOf(kysely).finally(close);
}

function move(stateFolder: string, places: { from?: string; to?: string }) {
  return moveStore({
    stateFolder,
    ...(places.from === undefined ? {} : { from: { url: places.from } }),
    ...(places.to === undefined ? {} : { to: { url: places.to } }),
    onProgress: () => {},
  });
}

function openShared(folder: string, url: string): Promise<OpenState> {
  return openState(folder, { store: { url }, clock: systemClock, log: silentLogger });
}

test("a store goes to PostgreSQL, to another one, and back, and is the same; the old one is put aside", async (context) => {
  const folder = await madeState(context, 1300);
  const first = await contentOfFolder(folder);
  const [one, other] = [await server.database(), await server.database()];
  const there = await move(folder, { to: one });
  assert.deepEqual(there.content, first);
  assert.match(there.aside, /old-.*store\.sqlite$/);
  await assert.rejects(openState(folder), /store .* is gone/);
  {
    await using state = await openShared(folder, one);
    assert.equal((await state.store.changesSince(0, 5)).length, 5, "a watch resumes by its revision");
    await assert.rejects(move(folder, { from: one }), { code: "store_unavailable" }, "its folder is in use");
    const elsewhere = await emptyFolder(context);
    await assert.rejects(move(elsewhere, { from: one }), /An Innkeeper serves the store/);
  }
  const again = await move(folder, { from: one, to: other });
  assert.match(again.aside, /innkeeper_moved_/);
  const back = await move(folder, { from: other });
  assert.deepEqual(back.content, again.content);
  assert.deepEqual(await contentOfFolder(folder), back.content);
  await assert.rejects(move(folder, { from: other }), { code: "not_found" });
  await using state = await openState(folder);
  assert.equal((await state.store.transaction((transaction) => transaction.list("event"))).length, 1295);
});

test("a target that is not empty is refused, and both stay as they are", async (context) => {
  const [folder, full] = [await madeState(context), await madeState(context, 9)];
  const url = await server.database();
  await move(full, { to: url });
  const before = await contentOfFolder(folder);
  await assert.rejects(move(folder, { to: url }), { code: "conflict", message: /is not empty/ });
  assert.deepEqual(await contentOfFolder(folder), before);
  await assert.rejects(move(folder, { from: url }), { code: "conflict", message: /is not empty/ });
  assert.deepEqual(await contentOfFolder(folder), before);
  await assert.rejects(openShared(folder, url), { code: "conflict", message: /has a store of its own/ });
});

test("killed at any moment, it is done again until all is there", { timeout: 120_000 }, async (context) => {
  const folder = await madeState(context, 1000);
  const content = await contentOfFolder(folder);
  const url = await server.database();
  const isDone = async (place: string) => (await readdir(folder)).includes("store.sqlite") === (place === "from");
  for (const place of ["to", "from"]) {
    // How long it takes when nothing comes between; then it is killed at moments over all of it.
    const startMs = performance.now();
    assert.equal(await runMove(folder, place, url), 0);
    const takenMs = performance.now() - startMs;
    await move(folder, place === "to" ? { from: url } : { to: url });
    for (let part = 1; part <= killsEach && !(await isDone(place)); part++) {
      await runMove(folder, place, url, (takenMs * part) / killsEach);
    }
    if (!(await isDone(place))) assert.equal(await runMove(folder, place, url), 0);
  }
  // The database's copy may be there still, if the last kill came before it was put aside.
  assert.deepEqual(await contentOfFolder(folder), content);
});

const killsEach = 5;

/** As a process of its own; its exit code, or null when it was killed after so long. */
async function runMove(folder: string, place: string, url: string, killMs?: number): Promise<number | null> {
  const child = path.join(import.meta.dirname, "move.child.ts");
  const running = spawn(process.execPath, [child, folder, place, url], { stdio: "inherit" });
  const timer = killMs === undefined ? undefined : setTimeout(() => running.kill("SIGKILL"), killMs);
  const [code] = (await once(running, "exit")) as [number | null];
  clearTimeout(timer);
  assert.ok(code === 0 || code === null, `it ended with ${code}`);
  return code;
}

test("a backup of a store in PostgreSQL is restored there, or in a state folder; what was there is kept", async (context) => {
  const folder = await emptyFolder(context);
  const url = await server.database();
  let content: Buffer;
  {
    await using state = await openShared(folder, url);
    await fill(state, 40);
    const backups = new BackupService({ ...state, stateFolder: folder, version: "0.1.0", clock: systemClock });
    await using running = await backups.create(password);
    content = Buffer.concat(await Array.fromAsync(running.content));
    await fill(state, 7);
  }
  const restored = await restoreState({
    stateFolder: folder,
    store: { url },
    content: chunk(content),
    password: async () => password,
    checkOnly: false,
  });
  assert.equal(restored.aside.filter((aside) => /innkeeper_old_/.test(aside)).length, 1);
  {
    await using state = await openShared(folder, url);
    assert.equal(await count(state), 36, "35 events, and one that tells of it");
    assert.ok((await state.store.revision()) > 1_000_000, "no revision is given twice");
  }
  const elsewhere = await emptyFolder(context);
  await restoreState({
    stateFolder: elsewhere,
    content: chunk(content),
    password: async () => password,
    checkOnly: false,
  });
  await using state = await openState(elsewhere);
  assert.equal(await count(state), 36);
  assert.ok((await readdir(elsewhere)).includes("ca"));
});

test("a second state folder needs the first one's key, and gets its certificate authority", async (context) => {
  const [first, second, stranger] = [
    await emptyFolder(context),
    await emptyFolder(context),
    await emptyFolder(context),
  ];
  const url = await server.database();
  await using one = await openShared(first, url);
  await fill(one, 1);
  await assert.rejects(openShared(second, url), { code: "store_unavailable", message: /key file/ });
  await cp(stateLayout(first).key, stateLayout(second).key);
  await using other = await openShared(second, url);
  assert.equal(other.leadership?.term, undefined);
  assert.deepEqual(await readdir(path.join(second, "ca")), ["authority.pem"]);
  await assert.rejects(
    other.store.transaction((transaction) => transaction.putPrivate("space", "key", 1)),
    { code: "store_unavailable", message: /does not lead/ },
  );
  {
    await using _own = await openState(stranger);
  }
  await rm(stateLayout(stranger).store);
  await assert.rejects(openShared(stranger, url), {
    code: "store_unavailable",
    message: /not the one of the shared store/,
  });
});

async function count({ store }: OpenState): Promise<number> {
  return (await store.transaction((transaction) => transaction.list("event"))).length;
}

async function* chunk(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

/** The embedded store: the suite of all stores, and what only a file can suffer. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { describeStore, eventDraft, type StoreUnderTest } from "#store/conformance.ts";
import { migrations } from "#store/migration/table.ts";
import type { Store } from "#store/port.ts";
import { assertBroughtUp, fillOldVersion } from "#store/test-support/old-version.ts";
import { openSqliteDatabase, openSqliteStore } from "#store/sqlite/sqlite-store.ts";

async function folder(): Promise<AsyncDisposable & { readonly file: string }> {
  const directory = await mkdtemp(path.join(tmpdir(), "inn-store-"));
  return {
    file: path.join(directory, "store.sqlite"),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}

async function underTest(): Promise<StoreUnderTest> {
  const place = await folder();
  let store: Store = await openSqliteStore({ file: place.file });
  return {
    get store() {
      return store;
    },
    async reopen() {
      await store[Symbol.asyncDispose]();
      store = await openSqliteStore({ file: place.file });
      return store;
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

describeStore("SQLite", underTest);

test("the file is its owner's alone, and a second opener is refused by name", async () => {
  await using place = await folder();
  await using store = await openSqliteStore({ file: place.file });
  await store.probe();
  for (const suffix of ["", "-wal"]) assert.equal((await stat(place.file + suffix)).mode & 0o777, 0o600);
  await assert.rejects(openSqliteStore({ file: place.file }), (error: Error & { code: string }) => {
    assert.equal(error.code, "store_unavailable");
    assert.match(error.message, /Another process has the store/);
    return true;
  });
  await store.probe();
});

test("a store is brought up from every version of its schema, and keeps what it has", async () => {
  for (let version = 1; version < migrations.length; version++) {
    await using place = await folder();
    const old = await openSqliteDatabase({ file: place.file, migrations: migrations.slice(0, version) });
    await fillOldVersion(old.kysely);
    old.close();
    await using store = await openSqliteStore({ file: place.file });
    await assertBroughtUp(store);
  }
});

test("a store of a newer version is refused by name and left as it is", async () => {
  await using place = await folder();
  const newer = { name: "from-the-future", up: async () => {} };
  const future = await openSqliteStore({ file: place.file, migrations: [...migrations, newer] });
  await future[Symbol.asyncDispose]();
  const before = await readFile(place.file);
  await assert.rejects(openSqliteStore({ file: place.file }), /from-the-future/);
  assert.deepEqual(await readFile(place.file), before);
});

test("a migration that fails leaves the version before it", async () => {
  await using place = await folder();
  const failing = { name: "failing", up: () => Promise.reject(new Error("planned")) };
  await assert.rejects(openSqliteStore({ file: place.file, migrations: [...migrations, failing] }), /planned/);
  await using store = await openSqliteStore({ file: place.file });
  assert.equal(await store.revision(), 0);
});

test("a damaged store is detected when it is opened, and named", async () => {
  await using place = await folder();
  const store = await openSqliteStore({ file: place.file });
  await store.transaction(async (transaction) => {
    for (let index = 0; index < 2000; index++) await transaction.put("event", eventDraft("x".repeat(100)));
  });
  await store[Symbol.asyncDispose]();
  {
    await using handle = await open(place.file, "r+");
    const garbage = Buffer.alloc(4096 * 8, 0xa5);
    await handle.write(garbage, 0, garbage.length, 4096 * 5);
  }
  await assert.rejects(openSqliteStore({ file: place.file }), (error: Error & { code: string; remedy: string }) => {
    assert.equal(error.code, "store_unavailable");
    assert.match(error.message, /corrupted/);
    assert.match(error.remedy, /backup/);
    return true;
  });
});

test("a file that is no store, or another program's, is refused and left as it is", async () => {
  await using place = await folder();
  await writeFile(
    place.file,
    "not a database at all, but long enough to look like one to whoever reads a header\n".repeat(20),
  );
  await assert.rejects(openSqliteStore({ file: place.file }), { code: "store_unavailable" });
  await rm(place.file);
  const other = new DatabaseSync(place.file);
  other.exec("create table t (x)");
  other.close();
  await assert.rejects(openSqliteStore({ file: place.file }), /another program/);
  await assert.rejects(openSqliteStore({ file: path.join(place.file, "below") }), { code: "store_unavailable" });
});

test("a writer that is killed leaves all that it was told is stored, whole transactions only, and no lock", async () => {
  await using place = await folder();
  let told = 0;
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, [path.join(import.meta.dirname, "writer.child.ts"), place.file], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(child, "exit") as Promise<[number | null, string | null]>;
    let lines = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      told = Number(line);
      if (++lines === 20 + round * 7) child.kill("SIGKILL");
    }
    assert.deepEqual(await exited, [null, "SIGKILL"]);
    await using store = await openSqliteStore({ file: place.file });
    const revision = await store.revision();
    assert.ok(revision >= told && revision % 2 === 0, `${revision} after ${told}`);
    const log = await store.changesSince(0, 10_000);
    assert.deepEqual(
      log.map((change) => change.revision),
      Array.from({ length: revision }, (_, index) => index + 1),
    );
    await store.transaction(async (transaction) => {
      assert.equal((await transaction.list("event")).length, revision);
      assert.equal(await transaction.getPrivate("pair", "count"), revision - 1);
    });
  }
});

test(
  "a full disk refuses the write, leaves nothing of it, and is over when there is space",
  { timeout: 60_000 },
  async () => {
    await using place = await folder();
    const mount = spawnSync("unshare", ["--mount", "true"]);
    if (mount.status !== 0)
      throw new Error("this test needs root: it mounts a small file system in a namespace of its own");
    const child = spawnSync(
      "unshare",
      [
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" "$3" "$1"',
        "sh",
        path.dirname(place.file),
        process.execPath,
        path.join(import.meta.dirname, "full-disk.child.ts"),
      ],
      { encoding: "utf8" },
    );
    assert.equal(child.status, 0, child.stderr);
    assert.match(child.stdout, /recovered/);
  },
);

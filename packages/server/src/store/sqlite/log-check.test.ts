/** What SQLite leaves out of a damaged log is told; what a crash leaves is not taken for damage. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { checkLog } from "./log-check.ts";

const frameBytes = 24 + 4096;

/** A log of 50 commits of an earlier round, 20 of this one, and what a transaction that was rolled back has written. */
async function madeLog(context: TestContext) {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-log-"));
  context.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "store");
  const database = new DatabaseSync(file);
  database.exec("pragma locking_mode = exclusive; pragma journal_mode = wal; pragma synchronous = full");
  database.exec("create table t (x)");
  const insert = database.prepare("insert into t values (?)");
  const commits = (count: number) => Array.from({ length: count }, () => insert.run("x".repeat(3000)));
  commits(50);
  database.exec("pragma wal_checkpoint(restart)");
  commits(20);
  database.exec("pragma cache_size = 5; begin");
  commits(50);
  database.exec("rollback");
  commits(5);
  const log = await readFile(`${file}-wal`);
  database.close();
  const check = async (change: (bytes: Buffer) => Buffer): Promise<string | undefined> => {
    await writeFile(`${file}-wal`, change(Buffer.from(log)));
    return checkLog(file);
  };
  return { log, check, file };
}

test("no log, an empty one, and each that a crash may leave are sound", async (context) => {
  const { log, check, file } = await madeLog(context);
  assert.equal(await check((bytes) => bytes), undefined);
  await rm(`${file}-wal`);
  assert.equal(checkLog(file), undefined);
  for (let length = 0; length < log.length; length += 1777) {
    assert.equal(await check((bytes) => bytes.subarray(0, length)), undefined, `cut off at ${length}`);
  }
});

test("each damage that hides commits is told with its place", async (context) => {
  const { check } = await madeLog(context);
  // Each commit is of one frame or more; the last two can't be told from a write that was cut off.
  for (let frame = 0; frame < 15; frame++) {
    const at = 32 + frame * frameBytes;
    for (const [from, to] of [
      [0, 4],
      [8, 16],
      [16, 24],
      [24, 25],
      [4000, frameBytes],
    ] as const) {
      const said = await check((bytes) => bytes.fill(0xa5, at + from, at + to));
      assert.match(said ?? "", new RegExp(`damaged at frame ${frame + 1}:`), `frame ${frame}, ${from}`);
    }
  }
  for (const at of [0, 8, 16, 24]) {
    assert.match((await check((bytes) => bytes.fill(0xa5, at, at + 4))) ?? "", /header .* damaged/, String(at));
  }
});

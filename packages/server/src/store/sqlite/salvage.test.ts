/** What is read of a store that was damaged in any way is what was in it, is never what was deleted, and comes to an end. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { eventDraft, taskDraft } from "#store/conformance.ts";
import { salvageSqlite } from "#store/sqlite/salvage.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

const pageBytes = 4096;

test("any damage", { timeout: 120_000 }, async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-salvage-"));
  context.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "store.sqlite");
  const events = new Set<string>();
  const deleted = taskDraft("succeeded");
  {
    await using store = await openSqliteStore({ file });
    await store.transaction(async (transaction) => {
      for (let index = 0; index < 600; index++) {
        events.add((await transaction.put("event", eventDraft("x".repeat(index)))).id);
        await transaction.putPrivate("space", `${index}`, { index });
      }
      await transaction.put("task", deleted);
    });
    await store.transaction((transaction) => transaction.delete("task", deleted.id));
  }
  const whole = await readFile(file);
  const pages = whole.length / pageBytes;
  const damaged = path.join(folder, "damaged");
  const scratch = path.join(folder, "scratch");
  const read = async (bytes: Buffer) => {
    await writeFile(damaged, bytes);
    const salvage = await salvageSqlite(damaged, scratch);
    assert.deepEqual(await readFile(damaged), bytes, "left as it is");
    for (const { kind, id, document } of salvage.resources) {
      assert.ok(kind === "event" && events.has(id) && (document as { id: string }).id === id);
    }
    assert.deepEqual((await readdir(folder)).toSorted(), ["damaged", "store.sqlite"]);
    return salvage;
  };
  const sound = await read(whole);
  assert.deepEqual([sound.resources.length, sound.privates.length, sound.revision, sound.faults], [600, 600, 602, []]);
  const headless = Buffer.from(whole).fill(0, 0, pageBytes);
  assert.equal((await read(headless)).resources.length, 600, "without the first page");
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(pages - 1), { minLength: 1, maxLength: 6 }),
      fc.constantFrom(0, 0xa5, 0x0d, 0x05, 0xff),
      fc.double({ min: 0.1, max: 1, noNaN: true }),
      async (hit, byte, part) => {
        const bytes = Buffer.from(whole);
        for (const page of hit) bytes.fill(byte, page * pageBytes, page * pageBytes + Math.ceil(pageBytes * part));
        await read(bytes);
      },
    ),
    { numRuns: 60 },
  );
  for (const length of [0, 100, pageBytes, 3 * pageBytes, whole.length >> 1]) await read(whole.subarray(0, length));
});

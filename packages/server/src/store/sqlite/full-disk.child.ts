/** Run by the test of the full disk, on a file system of 2 MiB: fills it, sees the refusal, frees it, goes on. */
import assert from "node:assert/strict";
import { statfsSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { eventDraft } from "#store/conformance.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

const directory = process.argv[2] ?? "";
const file = path.join(directory, "store.sqlite");
const ballast = path.join(directory, "ballast");
const store = await openSqliteStore({ file });
await store.transaction((transaction) => transaction.put("event", eventDraft("kept")));
const { bavail, bsize } = statfsSync(directory);
writeFileSync(ballast, Buffer.alloc(bavail * bsize - 65_536));
await assert.rejects(
  store.transaction(async (transaction) => {
    for (let index = 0; index < 400; index++) await transaction.put("event", eventDraft("x".repeat(4096)));
  }),
  { code: "disk_full" },
);
const events = await store.transaction((transaction) => transaction.list("event"));
assert.deepEqual(
  events.map((event) => event.message),
  ["kept"],
);
assert.equal(await store.revision(), 1);
rmSync(ballast);
await store.transaction((transaction) => transaction.put("event", eventDraft("after")));
await store[Symbol.asyncDispose]();
await using reopened = await openSqliteStore({ file });
assert.equal(await reopened.revision(), 2);
process.stdout.write("recovered\n");

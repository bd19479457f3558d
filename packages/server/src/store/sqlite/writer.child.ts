/** Run by the test of killed writers: commits without end, and prints each revision once its commit has resolved. */
import { writeSync } from "node:fs";
import { eventDraft } from "#store/conformance.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

const store = await openSqliteStore({ file: process.argv[2] ?? "" });
for (;;) {
  const revision = await store.transaction(async (transaction) => {
    await transaction.put("event", eventDraft("first of a pair"));
    await transaction.putPrivate("pair", "count", await transaction.revision());
    return (await transaction.put("event", eventDraft("second of a pair"))).revision;
  });
  writeSync(1, `${revision}\n`);
}

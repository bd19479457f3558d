/** A store of another dialect as a SQLite file: what a backup holds, whatever the store is. */
import { closeSync, openSync } from "node:fs";
import { rm } from "node:fs/promises";
import type { Kysely } from "kysely";
import type { StoreSchema } from "#store/schema.ts";
import { translateSqliteError } from "#store/sqlite/error.ts";
import { openSqliteDatabase } from "#store/sqlite/sqlite-store.ts";
import { copyContent, type StoreContent } from "#store/transfer.ts";

/** Makes `file`, as of one moment; nothing of it is left after an error. */
export async function exportToSqlite(
  from: Kysely<StoreSchema>,
  file: string,
  onTable?: (table: string) => void,
): Promise<StoreContent> {
  // Never one that is there.
  closeSync(openSync(file, "wx", 0o600));
  try {
    const { kysely, close } = await openSqliteDatabase({ file });
    try {
      return await from
        .transaction()
        .setIsolationLevel("repeatable read")
        .setAccessMode("read only")
        .execute((source) => kysely.transaction().execute((target) => copyContent(source, target, onTable)));
    } finally {
      close();
    }
  } catch (error) {
    for (const suffix of ["", "-wal", "-shm", "-journal"]) await rm(file + suffix, { force: true });
    throw translateSqliteError(error, file);
  }
}

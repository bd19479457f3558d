/**
 * A copy of the open store as a file of its own: SQLite's online backup on the store's own connection, which alone may
 * read it (exclusive locking), in a thread of the pool, so that the event loop goes on. The copy is checked: a store
 * that was damaged while it was open is found here.
 */
import { closeSync, openSync, rmSync } from "node:fs";
import { backup, DatabaseSync } from "node:sqlite";
import { corruptedStore, isCorruption, translateSqliteError } from "#store/sqlite/error.ts";

/** All pages in one step: between steps nothing else may use the connection anyway. */
const pagesAtOnce = 2 ** 30;

/** Makes `file`; nothing of it is left after an error. No transaction may be open meanwhile. */
export async function copyDatabase(database: DatabaseSync, source: string, file: string): Promise<void> {
  // Made with this mode before SQLite sees it.
  closeSync(openSync(file, "wx", 0o600));
  try {
    await backup(database, file, { rate: pagesAtOnce });
    checkCopy(source, file);
  } catch (error) {
    for (const suffix of ["", "-wal", "-shm", "-journal"]) rmSync(file + suffix, { force: true });
    throw translateSqliteError(error, isCorruption(error) ? source : file);
  }
}

function checkCopy(source: string, file: string): void {
  const copy = new DatabaseSync(file);
  try {
    const findings = quickCheck(copy);
    if (findings !== undefined) throw corruptedStore(source, `SQLite says: ${findings}`);
    // One file, without a log beside it.
    copy.exec("pragma journal_mode = delete");
  } finally {
    copy.close();
  }
}

/** What is wrong with a database; undefined if nothing is. Takes about 1 ms per MB (docs/decisions/0012-state-recovered-from-hosts.md). */
export function quickCheck(database: DatabaseSync): string | undefined {
  const rows = database.prepare("pragma quick_check(5)").all();
  const findings = rows.map((row) => String(Object.values(row)[0])).join("; ");
  return findings === "ok" ? undefined : findings;
}

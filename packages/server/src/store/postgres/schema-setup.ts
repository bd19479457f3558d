/**
 * Makes or upgrades the schema in which everything of a store lies, by one process at a time. Invariants: while it changes
 * nobody leads, and who led before an upgrade can write no more; a schema that is another program's is left as it is.
 */
import { type Kysely, sql } from "kysely";
import { AppError } from "#core/app-error.ts";
import { migrate } from "#store/migration/migrate.ts";
import { type Migration, migrations } from "#store/migration/table.ts";
import { schemaName } from "#store/postgres/connection.ts";
import { depose, schemaLock } from "#store/postgres/lease.ts";
import type { StoreSchema } from "#store/schema.ts";

export async function setUpSchema(
  database: Kysely<StoreSchema>,
  title: string,
  applicable: readonly Migration[] = migrations,
): Promise<void> {
  await database.connection().execute(async (connection) => {
    await sql`select pg_advisory_lock(${schemaLock})`.execute(connection);
    try {
      const tables = await tablesOf(connection);
      if (tables.length > 0 && !tables.includes("migration")) throw foreign(title);
      if (tables.length === 0) await sql`create schema if not exists ${sql.id(schemaName)}`.execute(connection);
      const isOlder = tables.length > 0 && (await versionOf(connection)) < applicable.length;
      if (isOlder && tables.includes("lease")) await connection.transaction().execute(depose);
      await migrate(connection, applicable);
    } finally {
      await sql`select pg_advisory_unlock(${schemaLock})`.execute(connection);
    }
  });
}

/** Empty: there is no store. */
export async function tablesOf(database: Kysely<StoreSchema>): Promise<string[]> {
  const { rows } = await sql<{ tablename: string }>`
    select tablename from pg_tables where schemaname = ${schemaName}`.execute(database);
  return rows.map((row) => row.tablename);
}

async function versionOf(database: Kysely<StoreSchema>): Promise<number> {
  return (await database.selectFrom("migration").select("version").execute()).length;
}

function foreign(title: string): AppError {
  return new AppError(
    "store_unavailable",
    `${title} has a schema ${schemaName} of another program; nothing was changed.`,
    {
      remedy: "Give Innkeeper a database of its own.",
      retryable: false,
    },
  );
}

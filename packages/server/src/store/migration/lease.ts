/** Migration 2: who of several processes on one store may write (store/postgres/lease.ts). An embedded store has one process, and no row. */
import type { Kysely } from "kysely";

export async function up(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable("lease")
    .addColumn("name", "text", (column) => column.notNull().primaryKey())
    .addColumn("token", "bigint", (column) => column.notNull())
    .addColumn("renewal", "bigint", (column) => column.notNull())
    .addColumn("holder", "text")
    .addColumn("takeover_ms", "integer", (column) => column.notNull())
    .addColumn("address", "text")
    .execute();
}

/** Migration 3: metrics over longer times. `content` is of all things of a part, in the coding of management/metric/rollup-code.ts. */
import type { Kysely } from "kysely";

export async function up(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable("rollup")
    .addColumn("interval_seconds", "integer", (column) => column.notNull())
    .addColumn("part", "integer", (column) => column.notNull())
    .addColumn("at_seconds", "bigint", (column) => column.notNull())
    .addColumn("content", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("rollup_key", ["interval_seconds", "part", "at_seconds"])
    .execute();
}

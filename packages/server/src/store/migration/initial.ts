/** Migration 1: resources, the change log, private data, and the revision counter. */
import type { Kysely } from "kysely";

export async function up(database: Kysely<unknown>): Promise<void> {
  const schema = database.schema;
  await schema
    .createTable("resource")
    .addColumn("kind", "text", (column) => column.notNull())
    .addColumn("id", "text", (column) => column.notNull())
    .addColumn("revision", "bigint", (column) => column.notNull())
    .addColumn("document", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("resource_key", ["kind", "id"])
    .execute();
  await schema.createIndex("resource_revision").on("resource").columns(["kind", "revision"]).execute();
  await schema
    .createTable("change")
    .addColumn("revision", "bigint", (column) => column.notNull().primaryKey())
    .addColumn("kind", "text", (column) => column.notNull())
    .addColumn("id", "text", (column) => column.notNull())
    .addColumn("operation", "text", (column) => column.notNull())
    .addColumn("document", "text")
    .execute();
  await schema
    .createTable("private")
    .addColumn("space", "text", (column) => column.notNull())
    .addColumn("key", "text", (column) => column.notNull())
    .addColumn("value", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("private_key", ["space", "key"])
    .execute();
  await schema
    .createTable("counter")
    .addColumn("name", "text", (column) => column.notNull().primaryKey())
    .addColumn("value", "bigint", (column) => column.notNull())
    .execute();
}

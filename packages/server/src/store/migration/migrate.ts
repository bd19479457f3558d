/**
 * Brings a store's schema up to date: each migration in one transaction together with its entry in the `migration`
 * table, or all in the caller's, so that a crash leaves the schema of a whole version. A schema from a newer program is refused, untouched.
 */
import type { Kysely } from "kysely";
import { AppError } from "#core/app-error.ts";
import { type Migration, migrations } from "#store/migration/table.ts";
import type { StoreSchema } from "#store/schema.ts";

export async function migrate(
  database: Kysely<StoreSchema>,
  applicable: readonly Migration[] = migrations,
): Promise<void> {
  await database.schema
    .createTable("migration")
    .ifNotExists()
    .addColumn("version", "integer", (column) => column.notNull().primaryKey())
    .addColumn("name", "text", (column) => column.notNull())
    .addColumn("applied_at", "text", (column) => column.notNull())
    .execute();
  const applied = await database.selectFrom("migration").selectAll().orderBy("version").execute();
  const unknown = applied[applicable.length];
  if (unknown !== undefined) {
    throw new AppError(
      "store_unavailable",
      `The store was migrated to schema ${applied.length} by a newer Innkeeper (its migration "${unknown.name}"); this one knows ${applicable.length}. Nothing was changed.`,
      {
        remedy: "Start the newer Innkeeper again, or restore a backup that this version made.",
        fault: { schema: applied.length },
        retryable: false,
      },
    );
  }
  for (const [index, migration] of applicable.entries()) {
    if (index < applied.length) continue;
    const apply = async (transaction: Kysely<StoreSchema>): Promise<void> => {
      await migration.up(transaction as unknown as Kysely<unknown>);
      await transaction
        .insertInto("migration")
        .values({ version: index + 1, name: migration.name, applied_at: new Date().toISOString() })
        .execute();
    };
    await (database.isTransaction ? apply(database) : database.transaction().execute(apply));
  }
}

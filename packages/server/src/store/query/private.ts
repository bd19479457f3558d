/** Queries of private data: JSON values by space and key. */
import type { Kysely } from "kysely";
import type { PrivateEntry } from "#store/port.ts";
import type { StoreSchema } from "#store/schema.ts";

export async function selectPrivate(database: Kysely<StoreSchema>, space: string, key: string): Promise<unknown> {
  const row = await database
    .selectFrom("private")
    .select("value")
    .where("space", "=", space)
    .where("key", "=", key)
    .executeTakeFirst();
  return row === undefined ? undefined : JSON.parse(row.value);
}

export async function selectPrivateSpace(database: Kysely<StoreSchema>, space: string): Promise<PrivateEntry[]> {
  const rows = await database
    .selectFrom("private")
    .select(["key", "value"])
    .where("space", "=", space)
    .orderBy("key")
    .execute();
  return rows.map((row) => ({ key: row.key, value: JSON.parse(row.value) as unknown }));
}

export async function upsertPrivate(
  database: Kysely<StoreSchema>,
  space: string,
  key: string,
  value: unknown,
): Promise<void> {
  const text = JSON.stringify(value);
  await database
    .insertInto("private")
    .values({ space, key, value: text })
    .onConflict((conflict) => conflict.columns(["space", "key"]).doUpdateSet({ value: text }))
    .execute();
}

export async function deletePrivate(database: Kysely<StoreSchema>, space: string, key: string): Promise<void> {
  await database.deleteFrom("private").where("space", "=", space).where("key", "=", key).execute();
}

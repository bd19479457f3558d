/** Queries of the change log and its revision counter. */
import type { Kysely } from "kysely";
import type { ChangeEntry, ResourceKind } from "#store/port.ts";
import { parseResource } from "#store/query/resource.ts";
import type { StoreSchema } from "#store/schema.ts";

const revisionCounter = "revision";

export async function selectRevision(database: Kysely<StoreSchema>): Promise<number> {
  const row = await database
    .selectFrom("counter")
    .select("value")
    .where("name", "=", revisionCounter)
    .executeTakeFirst();
  return Number(row?.value ?? 0);
}

export async function updateRevision(database: Kysely<StoreSchema>, revision: number): Promise<void> {
  await database
    .insertInto("counter")
    .values({ name: revisionCounter, value: revision })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value: revision }))
    .execute();
}

export async function insertChange(
  database: Kysely<StoreSchema>,
  change: StoreSchema["change"] & { kind: ResourceKind },
): Promise<void> {
  await database.insertInto("change").values(change).execute();
}

export async function selectChanges(
  database: Kysely<StoreSchema>,
  since: number,
  limit: number,
): Promise<ChangeEntry[]> {
  const rows = await database
    .selectFrom("change")
    .selectAll()
    .where("revision", ">", since)
    .orderBy("revision")
    .limit(limit)
    .execute();
  return rows.map((row) => {
    const revision = Number(row.revision);
    return {
      revision,
      kind: row.kind as ResourceKind,
      id: row.id,
      operation: row.document === null ? "delete" : "put",
      resource: row.document === null ? undefined : parseResource({ revision, document: row.document }),
    };
  });
}

/** The oldest revision that the log still has, or undefined if it is empty. */
export async function selectFirstRevision(database: Kysely<StoreSchema>): Promise<number | undefined> {
  const row = await database.selectFrom("change").select("revision").orderBy("revision").limit(1).executeTakeFirst();
  return row && Number(row.revision);
}

export async function deleteChangesUpTo(database: Kysely<StoreSchema>, revision: number): Promise<void> {
  await database.deleteFrom("change").where("revision", "<=", revision).execute();
}

/** Queries of the change log and the counters. */
import type { Kysely } from "kysely";
import type { CachedSpace, ChangeEntry, ResourceKind } from "#store/port.ts";
import { parseResource } from "#store/query/resource.ts";
import type { StoreSchema } from "#store/schema.ts";

const revisionCounter = "revision";

export async function selectRevision(database: Kysely<StoreSchema>): Promise<number> {
  const row = await database
    .selectFrom("counter")
    .select("value")
    .where("name", "=", revisionCounter)
    .executeTakeFirst();
  return row?.value ?? 0;
}

/** Among counters. */
export function revisionOf(counters: ReadonlyMap<string, number>): number {
  return counters.get(revisionCounter) ?? 0;
}

export function setRevision(counters: Map<string, number>, revision: number): void {
  counters.set(revisionCounter, revision);
}

/** The name of the counter that tells that private data of the space was changed. */
export function spaceCounter(space: CachedSpace): string {
  return `private:${space}`;
}

/** All counters by their names. */
export async function selectCounters(database: Kysely<StoreSchema>): Promise<ReadonlyMap<string, number>> {
  const rows = await database.selectFrom("counter").selectAll().execute();
  return new Map(rows.map(({ name, value }) => [name, value]));
}

export async function incrementCounter(database: Kysely<StoreSchema>, name: string): Promise<void> {
  await database
    .insertInto("counter")
    .values({ name, value: 1 })
    .onConflict((conflict) =>
      conflict.column("name").doUpdateSet((update) => ({ value: update("counter.value", "+", 1) })),
    )
    .execute();
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
  return rows.map(({ revision, kind, id, document }) => ({
    revision,
    kind: kind as ResourceKind,
    id,
    operation: document === null ? "delete" : "put",
    resource: document === null ? undefined : parseResource({ revision, document }),
  }));
}

/** The oldest revision that the log still has, or undefined if it is empty. */
export async function selectFirstRevision(database: Kysely<StoreSchema>): Promise<number | undefined> {
  const row = await database.selectFrom("change").select("revision").orderBy("revision").limit(1).executeTakeFirst();
  return row?.revision;
}

export async function deleteChangesUpTo(database: Kysely<StoreSchema>, revision: number): Promise<void> {
  await database.deleteFrom("change").where("revision", "<=", revision).execute();
}

/** Queries of resource documents. */
import type { Kysely } from "kysely";
import type { ResourceKind, ResourceMap } from "#store/port.ts";
import type { StoreSchema } from "#store/schema.ts";

interface StoredResource {
  readonly revision: number;
  readonly document: string;
}

export async function selectResource(
  database: Kysely<StoreSchema>,
  kind: ResourceKind,
  id: string,
): Promise<StoredResource | undefined> {
  return database
    .selectFrom("resource")
    .select(["revision", "document"])
    .where("kind", "=", kind)
    .where("id", "=", id)
    .executeTakeFirst();
}

export async function selectResources(database: Kysely<StoreSchema>, kind: ResourceKind): Promise<StoredResource[]> {
  return database
    .selectFrom("resource")
    .select(["revision", "document"])
    .where("kind", "=", kind)
    .orderBy("id")
    .execute();
}

/** Those that changed last are kept; the ids of the others, oldest first, at most `limit`. */
export async function selectOldest(
  database: Kysely<StoreSchema>,
  kind: ResourceKind,
  keep: number,
  limit: number,
): Promise<{ id: string; document: string }[]> {
  const border = await database
    .selectFrom("resource")
    .select("revision")
    .where("kind", "=", kind)
    .orderBy("revision", "desc")
    .offset(keep)
    .limit(1)
    .executeTakeFirst();
  if (border === undefined) return [];
  return database
    .selectFrom("resource")
    .select(["id", "document"])
    .where("kind", "=", kind)
    .where("revision", "<=", border.revision)
    .orderBy("revision")
    .limit(limit)
    .execute();
}

export async function upsertResource(
  database: Kysely<StoreSchema>,
  kind: ResourceKind,
  id: string,
  stored: StoredResource,
): Promise<void> {
  await database
    .insertInto("resource")
    .values({ kind, id, ...stored })
    .onConflict((conflict) => conflict.columns(["kind", "id"]).doUpdateSet(stored))
    .execute();
}

export async function deleteResource(database: Kysely<StoreSchema>, kind: ResourceKind, id: string): Promise<void> {
  await database.deleteFrom("resource").where("kind", "=", kind).where("id", "=", id).execute();
}

/** The document with its revision, as the API shows it: id and revision first. */
export function parseResource<K extends ResourceKind>(stored: StoredResource): ResourceMap[K] {
  const { id, ...rest } = JSON.parse(stored.document) as { id: string };
  return { id, revision: stored.revision, ...rest } as ResourceMap[K];
}

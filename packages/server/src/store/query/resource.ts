/** Queries of resource documents. */
import type { Kysely } from "kysely";
import type { ChangeEntry, ResourceKind, ResourceMap } from "#store/port.ts";
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

const pageRows = 1000;

/** In the order of their ids, in pages: their text is much larger than what is made of it. */
export async function* selectResources(
  database: Kysely<StoreSchema>,
  kind: ResourceKind,
): AsyncGenerator<StoredResource[], void> {
  for (let after = ""; ;) {
    const rows = await database
      .selectFrom("resource")
      .select(["id", "revision", "document"])
      .where("kind", "=", kind)
      .where("id", ">", after)
      .orderBy("id")
      .limit(pageRows)
      .execute();
    yield rows.map((row) => ({ revision: Number(row.revision), document: row.document }));
    const last = rows.at(-1);
    if (last === undefined || rows.length < pageRows) return;
    after = last.id;
  }
}

/** All that were written after a revision and are there, by revision. */
export async function selectWrittenSince(database: Kysely<StoreSchema>, since: number): Promise<ChangeEntry[]> {
  const rows = await database
    .selectFrom("resource")
    .select(["kind", "id", "revision", "document"])
    .where("revision", ">", since)
    .orderBy("revision")
    .execute();
  return rows.map(({ kind, id, revision, document }) => ({
    revision: Number(revision),
    kind: kind as ResourceKind,
    id,
    operation: "put",
    resource: parseResource({ revision: Number(revision), document }),
  }));
}

/** Kind and id of everything, as `vm vm-1`. */
export async function selectKeys(database: Kysely<StoreSchema>): Promise<ReadonlySet<string>> {
  const rows = await database.selectFrom("resource").select(["kind", "id"]).execute();
  return new Set(rows.map(({ kind, id }) => `${kind} ${id}`));
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

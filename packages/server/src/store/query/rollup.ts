/** Queries of roll-ups of metrics. They are no resources: nothing of them is in the change log. */
import type { Kysely } from "kysely";
import type { Rollup } from "#store/port.ts";
import type { StoreSchema } from "#store/schema.ts";

export async function upsertRollup(database: Kysely<StoreSchema>, rollup: Rollup): Promise<void> {
  const { intervalSeconds, part, atSeconds, content } = rollup;
  await database
    .insertInto("rollup")
    .values({ interval_seconds: intervalSeconds, part, at_seconds: atSeconds, content })
    .onConflict((conflict) => conflict.columns(["interval_seconds", "part", "at_seconds"]).doUpdateSet({ content }))
    .execute();
}

export async function selectRollups(
  database: Kysely<StoreSchema>,
  intervalSeconds: number,
  part: number,
  fromSeconds: number,
  toSeconds: number,
): Promise<Rollup[]> {
  const rows = await database
    .selectFrom("rollup")
    .select(["at_seconds", "content"])
    .where("interval_seconds", "=", intervalSeconds)
    .where("part", "=", part)
    .where("at_seconds", ">=", fromSeconds)
    .where("at_seconds", "<", toSeconds)
    .orderBy("at_seconds")
    .execute();
  // PostgreSQL hands a bigint over as text.
  return rows.map((row) => ({ intervalSeconds, part, atSeconds: Number(row.at_seconds), content: row.content }));
}

export async function deleteRollups(
  database: Kysely<StoreSchema>,
  intervalSeconds: number,
  beforeSeconds: number,
): Promise<void> {
  await database
    .deleteFrom("rollup")
    .where("interval_seconds", "=", intervalSeconds)
    .where("at_seconds", "<", beforeSeconds)
    .execute();
}

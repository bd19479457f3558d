/** A store as an older version of Innkeeper left it, in the tables that there are in every version. */
import assert from "node:assert/strict";
import type { Kysely } from "kysely";
import { eventDraft } from "#store/conformance.ts";
import type { Store } from "#store/port.ts";
import type { StoreSchema } from "#store/schema.ts";

const draft = eventDraft("kept 中文");
const document = JSON.stringify(draft);

/** One event, written twice. */
export async function fillOldVersion(database: Kysely<StoreSchema>): Promise<void> {
  const of = { kind: "event", id: draft.id };
  await database
    .insertInto("resource")
    .values({ ...of, revision: 2, document })
    .execute();
  for (const revision of [1, 2]) {
    await database
      .insertInto("change")
      .values({ ...of, revision, operation: "put", document })
      .execute();
  }
  await database.insertInto("private").values({ space: "s", key: "k", value: "1" }).execute();
  await database.insertInto("counter").values({ name: "revision", value: 2 }).execute();
}

/** All of it is there, is followed from where a client was, and goes on. */
export async function assertBroughtUp(store: Store): Promise<void> {
  const kept = { ...draft, revision: 2 };
  await store.transaction(async (transaction) => {
    assert.deepEqual(await transaction.list("event"), [kept]);
    assert.equal(await transaction.getPrivate("s", "k"), 1);
    await transaction.putRollup({ intervalSeconds: 300, part: 0, atSeconds: 600, content: "x" });
  });
  const changes = await store.changesSince(1, 10);
  assert.deepEqual(
    changes.map(({ revision, resource }) => ({ revision, resource })),
    [{ revision: 2, resource: kept }],
  );
  const next = await store.transaction((transaction) => transaction.put("event", eventDraft("next")));
  assert.equal(next.revision, 3);
}

/**
 * Keeps the store bounded: old entries of the change log, old events, and tasks that ended long ago are forgotten, a few
 * hundred in a transaction so that others are not held up. What is forgotten goes through the change log as a delete.
 */
import type { Kysely } from "kysely";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { ResourceKind, Store } from "#store/port.ts";
import { deleteChangesUpTo, selectRevision } from "#store/query/change.ts";
import { selectOldest } from "#store/query/resource.ts";
import type { StoreSchema } from "#store/schema.ts";

export interface PruneLimits {
  readonly changes: number;
  readonly events: number;
  readonly tasks: number;
}

const batch = 500;

/** `run`: on the database itself, in a transaction that may write. */
export async function prune(
  store: Store,
  limits: PruneLimits,
  run: <T>(work: (database: Kysely<StoreSchema>) => Promise<T>) => Promise<T>,
): Promise<void> {
  const oldest = (kind: ResourceKind, keep: number) => run((database) => selectOldest(database, kind, keep, batch));
  for (let full = true; full;) {
    const events = await oldest("event", limits.events);
    await deleteAll(
      store,
      "event",
      events.map((event) => event.id),
    );
    full = events.length === batch;
  }
  for (let full = true; full;) {
    const tasks = await oldest("task", limits.tasks);
    const ended = tasks.filter((task) => hasEnded(JSON.parse(task.document) as Task));
    await deleteAll(
      store,
      "task",
      ended.map((task) => task.id),
    );
    full = tasks.length === batch && ended.length > 0;
  }
  await run(async (database) => {
    const revision = await selectRevision(database);
    await deleteChangesUpTo(database, revision - limits.changes);
  });
}

async function deleteAll(store: Store, kind: ResourceKind, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await store.transaction(async (transaction) => {
    for (const id of ids) {
      await transaction.delete(kind, id);
      await transaction.deletePrivate(kind, id);
    }
  });
}

function hasEnded(task: Task): boolean {
  return task.state === "succeeded" || task.state === "failed" || task.state === "cancelled";
}

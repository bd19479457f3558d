/** If-Match: refuses to change what someone else has changed meanwhile, and says what that was. */
import { AppError } from "#core/app-error.ts";
import type { ResourceKind, Store } from "#store/port.ts";
import { type Inventory, kindTitle } from "#management/inventory/inventory.ts";
import { fieldChanges } from "./change-since.ts";

/** Throws precondition_failed, with what changed, unless the resource is at `ifRevision`. Not inside a transaction. */
export async function checkRevision(
  store: Store,
  inventory: Inventory,
  kind: ResourceKind,
  id: string,
  ifRevision: number,
): Promise<void> {
  const present = inventory.get(kind, id);
  if (present === undefined || present.revision === ifRevision) return;
  const changes = await fieldChanges(store, kind, id, ifRevision);
  const fields = (changes ?? []).map(({ field }) => field);
  const what = fields.length === 0 ? "" : ` Changed: ${fields.join(", ")}.`;
  throw new AppError(
    "precondition_failed",
    `The ${kindTitle(kind)} was changed by someone else: it is at revision ${present.revision}, not ${ifRevision}. Nothing was done.${what}`,
    { fault: { currentRevision: present.revision }, ...(changes === undefined ? {} : { changes }) },
  );
}

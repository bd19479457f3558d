/** If-Match: refuses to change what someone else has changed meanwhile, and says which fields that were. */
import { isDeepStrictEqual } from "node:util";
import { AppError } from "#core/app-error.ts";
import type { ResourceKind, Store } from "#store/port.ts";
import { type Inventory, kindTitle } from "#management/inventory/inventory.ts";

/** Throws precondition_failed unless the resource is at `ifRevision`; `fault.changed` lists what differs. Not inside a transaction. */
export async function checkRevision(
  store: Store,
  inventory: Inventory,
  kind: ResourceKind,
  id: string,
  ifRevision: number,
): Promise<void> {
  const present = inventory.get(kind, id);
  if (present === undefined || present.revision === ifRevision) return;
  const changed = await changedSince(store, id, ifRevision, present);
  const what = changed === undefined || changed.length === 0 ? "" : ` Changed: ${changed.join(", ")}.`;
  throw new AppError(
    "precondition_failed",
    `The ${kindTitle(kind)} was changed by someone else: it is at revision ${present.revision}, not ${ifRevision}. Nothing was done.${what}`,
    { fault: { currentRevision: present.revision, ...(changed === undefined ? {} : { changed }) } },
  );
}

/** Dotted paths that differ from that revision, or undefined if the log no longer has it. */
async function changedSince(
  store: Store,
  id: string,
  revision: number,
  present: object,
): Promise<string[] | undefined> {
  try {
    const [entry] = await store.changesSince(revision - 1, 1);
    if (entry?.id !== id || entry.resource === undefined) return undefined;
    return differences(entry.resource, present).filter((path) => path !== "revision");
  } catch {
    return undefined; // pruned: the refusal stands without the list
  }
}

function differences(before: unknown, after: unknown, path = ""): string[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (!isPlain(before) || !isPlain(after)) return [path];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key) => differences(before[key], after[key], path === "" ? key : `${path}.${key}`));
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

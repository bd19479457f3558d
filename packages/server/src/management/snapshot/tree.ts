/** The tree of a VM's snapshots as pure functions over their documents. */
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";

type Node = Pick<Snapshot, "id" | "parentId" | "current">;

/** The snapshot and everything below it, parents before children. */
export function withDescendants<T extends Node>(all: readonly T[], root: T): T[] {
  const found = [root];
  for (const node of found) found.push(...all.filter((other) => other.parentId === node.id && !found.includes(other)));
  return found;
}

/** The nearest ancestor that `dropped` doesn't name; null at the root. */
function survivingAncestor<T extends Node>(
  all: readonly T[],
  start: T["parentId"],
  dropped: ReadonlySet<string>,
): T["parentId"] {
  let at = start;
  while (at !== null && dropped.has(at)) at = all.find((node) => node.id === at)?.parentId ?? null;
  return at;
}

/** What remains after `dropped` are gone: children move up to the nearest ancestor, `current` as well. */
export function treeWithout<T extends Node>(all: readonly T[], dropped: ReadonlySet<string>): T[] {
  const current = all.find((node) => node.current);
  const nowCurrent = current === undefined ? null : survivingAncestor(all, current.id, dropped);
  return all
    .filter((node) => !dropped.has(node.id))
    .map((node) => ({
      ...node,
      parentId: survivingAncestor(all, node.parentId, dropped),
      current: node.id === nowCurrent,
    }));
}

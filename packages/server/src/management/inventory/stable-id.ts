/** The id of something that a host has by itself: made of what the host knows it by, unless something else has that id. */
import { type Id, type Kind, newId } from "@innkeeper/contract/id.ts";
import { derivedId } from "#core/derived-id.ts";
import type { Inventory } from "#management/inventory/inventory.ts";

export function stableId<K extends Kind>(
  inventory: Pick<Inventory, "get">,
  kind: K,
  ...parts: readonly string[]
): Id<K> {
  const derived = derivedId(kind, ...parts);
  return inventory.get(kind, derived) === undefined ? derived : newId(kind);
}

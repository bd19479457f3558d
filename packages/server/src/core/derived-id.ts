/**
 * Ids of what hosts have by themselves: made of what a host knows the thing by, so that it has the same id again after
 * `inn recover`, and after its host was removed and added. Ids of what only Innkeeper knows are random (contract/id.ts).
 */
import { createHash } from "node:crypto";
import { type Id, idOfBytes, type Kind } from "@innkeeper/contract/id.ts";

/** The same for the same parts, e.g. `derivedId("network", hostId, uuid)`. */
export function derivedId<K extends Kind>(kind: K, ...parts: readonly string[]): Id<K> {
  return idOfBytes(
    kind,
    createHash("sha256")
      .update(JSON.stringify([kind, ...parts]))
      .digest(),
  );
}

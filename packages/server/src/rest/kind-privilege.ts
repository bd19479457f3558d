/** What one must be allowed to see a kind of resource, wherever it shows: in lists, in the change log, in filters. */
import type { Kind } from "@innkeeper/contract/id.ts";
import type { Privilege } from "@innkeeper/contract/privilege.ts";

/** Tokens: one's own, by nobody else. */
export const privilegeOfKind: Readonly<Record<Kind, Privilege | "own">> = {
  cluster: "cluster.read",
  host: "host.read",
  vm: "vm.read",
  snapshot: "snapshot.read",
  volume: "volume.read",
  "storage-pool": "pool.read",
  network: "network.read",
  image: "image.read",
  task: "task.read",
  event: "event.read",
  user: "user.read",
  token: "own",
};

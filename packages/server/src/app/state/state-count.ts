/** How much of what a state holds, for the report of who brings one back. */
import type { ResourceKind, Store } from "#store/port.ts";

const counted = ["host", "vm", "snapshot", "image", "user"] as const satisfies readonly ResourceKind[];
export type StateCount = Readonly<Record<(typeof counted)[number], number>>;

export async function countState(store: Store): Promise<StateCount> {
  return store.transaction(async (transaction) => {
    const entries: [string, number][] = [];
    for (const kind of counted) entries.push([kind, (await transaction.list(kind)).length]);
    return Object.fromEntries(entries) as StateCount;
  });
}

export function countText(count: StateCount): string {
  return counted.map((kind) => `${count[kind]} ${words[kind]}${count[kind] === 1 ? "" : "s"}`).join(", ");
}

const words: Readonly<Record<(typeof counted)[number], string>> = {
  host: "host",
  vm: "VM",
  snapshot: "snapshot",
  image: "image",
  user: "user",
};

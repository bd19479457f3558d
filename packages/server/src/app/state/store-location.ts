/** Where the store of a state is: beside it, in the state folder, or in a PostgreSQL that other processes may share. */
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { Leadership, Store } from "#store/port.ts";
import type { OfflinePostgres } from "#store/postgres/offline.ts";
import { systemClock } from "#core/system-clock.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

/** `postgres://…`; absent, the store is the SQLite file of the state folder. */
export interface StoreUrl {
  readonly url: string;
  readonly password?: string;
}

export interface OpenStore extends AsyncDisposable {
  readonly store: Store;
  /** Absent: this process alone uses the store. */
  readonly leadership?: Leadership;
}

export async function openStore(
  file: string,
  shared: StoreUrl | undefined,
  deps: { readonly clock: Clock; readonly log: Logger; readonly takeoverMs?: number },
): Promise<OpenStore> {
  await using begun = new AsyncDisposableStack();
  if (shared === undefined) {
    const store = begun.use(await openSqliteStore({ file }));
    const running = begun.move();
    return { store, [Symbol.asyncDispose]: () => running.disposeAsync() };
  }
  // Loaded where it is used: most installations have none.
  const { openPostgresStore } = await import("#store/postgres/postgres-store.ts");
  const { store, leadership } = await openPostgresStore({ ...shared, ...deps });
  begun.use(store);
  begun.use(leadership);
  await leadership.decided;
  const running = begun.move();
  return { store, leadership, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** For work on all of it, while no server uses it. */
export async function openOffline(shared: StoreUrl): Promise<OfflinePostgres> {
  const { OfflinePostgres } = await import("#store/postgres/offline.ts");
  return OfflinePostgres.open({ ...shared, clock: systemClock });
}

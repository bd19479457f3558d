/** What every operation's factory is given: narrow ports and stores, never "the app". */
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { Providers } from "#management/providers.ts";
import type { HostSync } from "#management/reconcile/host-sync.ts";
import type { Store } from "#store/port.ts";

export interface OperationDeps {
  readonly store: Store;
  /** Everything stored, always at the latest commit. */
  readonly inventory: Inventory;
  readonly providers: Providers;
  /** Brings what an operation changed on a host onto the read path. */
  readonly hostSync: HostSync;
  readonly clock: Clock;
  readonly log: Logger;
}

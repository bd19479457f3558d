/** What the reconcilers of hosts are given. */
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { MetricPoll } from "#management/metric/metric-poll.ts";
import type { Providers } from "#management/providers.ts";
import type { Store } from "#store/port.ts";
import type { JoinedWrites } from "./joined-write.ts";

export interface ReconcileDeps {
  readonly store: Store;
  /** Of the store: for small writes that come in numbers. */
  readonly writes: JoinedWrites;
  readonly inventory: Inventory;
  readonly providers: Providers;
  readonly clock: Clock;
  readonly log: Logger;
  /** Absent: nothing is measured. */
  readonly metrics?: MetricPoll;
}

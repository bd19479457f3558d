/** What the control plane is made of, apart from what it always has: the seam between app/server.ts and app/wire.ts. */
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { SecretBox } from "#core/secret-box.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { Providers } from "#management/providers.ts";
import type { HostSync } from "#management/reconcile/host-sync.ts";
import type { ClaimTable } from "#management/task/claim-table.ts";
import type { Operation } from "#management/task/operation.ts";
import type { RestServices } from "#rest/service.ts";
import type { Store } from "#store/port.ts";
import type { ServerConfig } from "./config.ts";

export interface WireBase {
  readonly config: ServerConfig;
  readonly store: Store;
  readonly inventory: Inventory;
  readonly secretBox: SecretBox;
  readonly claims: ClaimTable;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Wiring
  extends
    Pick<RestServices, "vm" | "cluster" | "host" | "pool" | "volume" | "image" | "metric" | "recent">,
    AsyncDisposable {
  readonly operations: readonly Operation[];
  readonly providers: Providers;
  readonly hostSync: HostSync;
  /** Opens the stored hosts; they connect in the background. Before tasks are resumed. */
  start(): Promise<void>;
}

export type Wire = (base: WireBase) => Wiring;

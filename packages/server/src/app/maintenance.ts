/** What is done now and then: old changes, events, tasks, sessions and keys are forgotten, and once a day a backup is made. */
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { AutomaticBackup } from "#management/backup/automatic-backup.ts";
import type { CredentialTable } from "#management/access/credential-table.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { TaskEngine } from "#management/task/engine.ts";
import type { Store } from "#store/port.ts";

interface MaintenanceDeps {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly credentials: CredentialTable;
  readonly tasks: TaskEngine;
  /** Absent: none are made. */
  readonly backup?: AutomaticBackup;
  readonly clock: Clock;
  readonly log: Logger;
}

const intervalMs = 15 * 60_000;
/** Between two looks whether it is due sooner, because so much happens. */
const lookMs = 30_000;
/** A watch may be resumed over so many changes; history is kept so far. */
const keep = { changes: 20_000, events: 20_000, tasks: 5000 };

export class Maintenance implements AsyncDisposable {
  readonly #deps: MaintenanceDeps;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(deps: MaintenanceDeps) {
    this.#deps = deps;
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #untilDue(): Promise<void> {
    const { inventory, clock } = this.#deps;
    const startMs = clock.monotonicMs();
    do await clock.sleep(lookMs, this.#stop.signal);
    while (clock.monotonicMs() - startMs < intervalMs && inventory.count("event") < 2 * keep.events);
  }

  async #run(): Promise<void> {
    const { store, credentials, tasks, backup, log } = this.#deps;
    while (!this.#stop.signal.aborted) {
      try {
        await this.#untilDue();
        await store.prune(keep);
        await credentials.prune();
        await tasks.prune();
      } catch (error) {
        if (!this.#stop.signal.aborted) log.error({ err: error }, "maintenance of the store failed");
      }
      if (!this.#stop.signal.aborted) await backup?.runIfDue(this.#stop.signal);
    }
  }
}

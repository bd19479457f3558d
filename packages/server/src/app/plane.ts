/**
 * What one process at a time does for an installation: connections to hosts, tasks, upkeep. It is made idle, so that the
 * API can be described and tasks waited for in a process that does not lead, and started once. Stopped, nothing of it is
 * left, and unfinished tasks are in the store as they were.
 */
import type { BackupService } from "#management/backup/backup-service.ts";
import { AutomaticBackup } from "#management/backup/automatic-backup.ts";
import type { CredentialTable } from "#management/access/credential-table.ts";
import { ImageRecordKeeper } from "#management/recover/image-record-keeper.ts";
import { ClaimTable } from "#management/task/claim-table.ts";
import { TaskEngine } from "#management/task/engine.ts";
import { crashPoint } from "./crash-point.ts";
import { Maintenance } from "./maintenance.ts";
import type { Wire, WireBase, Wiring } from "./wiring.ts";

export interface PlaneBase extends Omit<WireBase, "claims"> {
  readonly wire: Wire;
  readonly credentials: CredentialTable;
  readonly backup: BackupService;
}

export class Plane implements AsyncDisposable {
  readonly wiring: Wiring;
  readonly tasks: TaskEngine;
  readonly #base: PlaneBase;
  readonly #begun = new AsyncDisposableStack();
  #leads = (): boolean => true;

  constructor(base: PlaneBase) {
    this.#base = base;
    const { config } = base;
    const claims = new ClaimTable();
    this.wiring = this.#begun.use(base.wire({ ...base, claims }));
    const onStepBoundary = config.crashAt === undefined ? {} : { onStepBoundary: crashPoint(config.crashAt) };
    const { operations } = this.wiring;
    this.tasks = new TaskEngine({ ...base, claims, operations, leads: () => this.#leads(), ...onStepBoundary });
    this.#begun.defer(() => this.tasks.stop());
  }

  /** Hosts are being connected, unfinished tasks go on. `leads`: whether the process may still do that. */
  async start(leads: () => boolean): Promise<void> {
    this.#leads = leads;
    const { store, inventory, credentials, clock, log, config, backup } = this.#base;
    // What the process that led before has written is read before anything is decided.
    await store.transaction(async () => {});
    this.#begun.use(new ImageRecordKeeper({ inventory, providers: this.wiring.providers, log }));
    await this.wiring.start();
    const resumedTasks = await this.tasks.resume();
    const automatic = config.backup && new AutomaticBackup({ store, clock, log, backup }, config.backup);
    const { tasks } = this;
    this.#begun.use(
      new Maintenance({ store, inventory, credentials, tasks, clock, log, ...(automatic && { backup: automatic }) }),
    );
    log.info({ revision: inventory.revision, resumedTasks }, "hosts and tasks are taken up");
  }

  /** At once, also as it starts: no step is begun any more, for another process may go on with the tasks. */
  letGo(): void {
    this.tasks.letGo();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.letGo();
    return this.#begun.disposeAsync();
  }
}

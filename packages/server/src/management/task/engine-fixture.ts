/** A task engine on a store of its own in a temporary folder, on a clock whose waits take no time: for tests of operations. */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { newId } from "@innkeeper/contract/id.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { User } from "@innkeeper/contract/resource/user.ts";
import type { Clock } from "#core/clock.ts";
import { silentLogger } from "#core/log.ts";
import { SecretBox } from "#core/secret-box.ts";
import { systemClock } from "#core/system-clock.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { ClaimTable } from "#management/task/claim-table.ts";
import { TaskEngine } from "#management/task/engine.ts";
import { type TaskRecord, taskSpace } from "#management/task/journal.ts";
import type { Operation } from "#management/task/operation.ts";
import type { Store } from "#store/port.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

/** The system's clock, but waiting is short: retries with back-off of minutes take milliseconds. */
export const hastyClock: Clock = {
  ...systemClock,
  sleep: (delayMs, signal) => systemClock.sleep(Math.min(delayMs, 1), signal),
};

/** A store whose transactions fail while `fault` gives a reason. */
export function failingStore(store: Store, fault: () => Error | undefined): Store {
  return {
    transaction(work) {
      const reason = fault();
      return reason === undefined ? store.transaction(work) : Promise.reject(reason);
    },
    revision: () => store.revision(),
    changesSince: (since, limit) => store.changesSince(since, limit),
    onCommit: (listener) => store.onCommit(listener),
    onGap: (listener) => store.onGap(listener),
    onPrivateChange: (space, listener) => store.onPrivateChange(space, listener),
    prune: (limits) => store.prune(limits),
    copyTo: (file) => store.copyTo(file),
    probe: () => store.probe(),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

export class EngineFixture implements AsyncDisposable {
  readonly store: Store;
  readonly inventory: Inventory;
  engine: TaskEngine;
  /** Of the process that its engines are in. */
  leads = true;
  readonly #folder: string;
  #operations: readonly Operation[];
  readonly #clock: Clock;
  readonly #secretBox = new SecretBox(randomBytes(32));

  private constructor(
    folder: string,
    store: Store,
    inventory: Inventory,
    operations: readonly Operation[],
    clock: Clock,
  ) {
    this.#folder = folder;
    this.store = store;
    this.inventory = inventory;
    this.#operations = operations;
    this.#clock = clock;
    this.engine = this.#newEngine();
  }

  static async open(
    operations: readonly Operation[],
    wrap: (store: Store) => Store = (store) => store,
    clock: Clock = hastyClock,
  ): Promise<EngineFixture> {
    const folder = await mkdtemp(path.join(tmpdir(), "inn-engine-"));
    const store = wrap(await openSqliteStore({ file: path.join(folder, "store.sqlite") }));
    return new EngineFixture(folder, store, await Inventory.open(store), operations, clock);
  }

  /** Submits and waits for the end. */
  async run(operation: string, input: unknown): Promise<Task> {
    const task = await this.engine.submit(operation, input, { userName: "tester" });
    return this.engine.wait(task.id, 20_000);
  }

  /** Another engine on the same store, perhaps of another version, which resumes what the one before left. */
  async restart(operations = this.#operations): Promise<void> {
    await this.engine.stop();
    this.#operations = operations;
    this.engine = this.#newEngine();
    await this.engine.resume();
  }

  /** As the journal stores it. */
  async putRecord(taskId: string, record: TaskRecord): Promise<void> {
    const sealed = this.#secretBox.seal(JSON.stringify(record), `task:${taskId}`);
    await this.store.transaction((transaction) => transaction.putPrivate(taskSpace, taskId, sealed));
  }

  async putUser(name: string, change: Partial<User> = {}): Promise<User> {
    const user = {
      id: newId("user"),
      name,
      fullName: "",
      role: "operator",
      disabled: false,
      createdAt: "2026-01-01T00:00:00.000Z",
    } as const;
    return this.store.transaction((transaction) => transaction.put("user", { ...user, ...change }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.stop();
    this.inventory[Symbol.dispose]();
    await this.store[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true });
  }

  #newEngine(): TaskEngine {
    const { store, inventory } = this;
    return new TaskEngine({
      store,
      inventory,
      secretBox: this.#secretBox,
      clock: this.#clock,
      log: silentLogger,
      operations: this.#operations,
      claims: new ClaimTable(),
      leads: () => this.leads,
    });
  }
}

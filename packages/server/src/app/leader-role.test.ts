/** A process that comes to lead no more: what it does on hosts ends at once, whatever else of it takes its time. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { Type } from "typebox";
import type { Clock } from "#core/clock.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import { CredentialTable } from "#management/access/credential-table.ts";
import { BackupService } from "#management/backup/backup-service.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { failingStore } from "#management/task/engine-fixture.ts";
import { operation } from "#management/task/operation.ts";
import type { Leadership } from "#store/port.ts";
import { LeaderRole } from "./leader-role.ts";
import { Plane } from "./plane.ts";
import { openState } from "./state/open.ts";
import { testConfig } from "./test-support/test-config.ts";
import { wire as wireDrivers } from "./wire.ts";
import type { Wire } from "./wiring.ts";

/** Whose day passes in a moment: the daily backup is due at once. */
const hastyClock: Clock = {
  ...systemClock,
  monotonicMs: () => systemClock.monotonicMs() * 1e6,
  sleep: (delayMs, signal) => systemClock.sleep(Math.min(delayMs, 1), signal),
};

/** An election of one, which a test decides. */
class Ballot implements Leadership {
  term: number | undefined = 1;
  readonly leader = undefined;
  readonly decided = Promise.resolve();
  readonly isReachable = true;
  readonly #listeners = new Set<() => void>();

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  advertise(): void {}

  async [Symbol.asyncDispose](): Promise<void> {}

  decide(term: number | undefined): void {
    this.term = term;
    for (const listener of this.#listeners) listener();
  }
}

test("tasks are let go before the backup that is under way has ended, and go on when it leads again", async () => {
  const stateFolder = await mkdtemp(path.join(tmpdir(), "inn-role-"));
  await using begun = new AsyncDisposableStack();
  begun.defer(() => rm(stateFolder, { recursive: true }));
  const config = testConfig(stateFolder, { backup: { folder: path.join(stateFolder, "daily"), keep: 1 } });
  const [clock, log] = [hastyClock, silentLogger];
  const { store: whole, secretBox } = begun.use(await openState(stateFolder, { ...config, clock, log }));
  const copying = Promise.withResolvers<void>();
  const copied = Promise.withResolvers<void>();
  const copyTo = (file: string): Promise<void> => {
    copying.resolve();
    return copied.promise.then(() => whole.copyTo(file));
  };
  const store = { ...failingStore(whole, () => undefined), copyTo };
  const inventory = begun.use(await Inventory.open(store));
  const lingering = Promise.withResolvers<AbortSignal>();
  const steps: string[] = [];
  const task = operation({
    name: "test.run",
    input: Type.Unknown(),
    claims: () => ({ exclusive: [] }),
    target: () => undefined,
    steps: [
      {
        name: "first",
        async do({ repeated, signal }) {
          steps.push("first");
          if (repeated) return;
          lingering.resolve(signal);
          await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        },
      },
      { name: "second", do: async () => void steps.push("second") },
    ],
  });
  const wire: Wire = (base) => ({ ...wireDrivers(base), operations: [task] });
  const base = { config, store, inventory, secretBox, clock, log, wire };
  const credentials = await CredentialTable.open(store, clock);
  const backup = new BackupService({ ...base, stateFolder, version: "1" });
  const leadership = new Ballot();
  const makePlane = (): Plane => new Plane({ ...base, credentials, backup });
  const role = begun.use(new LeaderRole({ ...base, clock: systemClock, leadership, takeoverMs: 1000, makePlane }));
  begun.defer(() => copied.resolve());
  await role.begin();
  const { id } = await role.plane.tasks.submit("test.run", {}, { userName: "tester" });
  const signal = await lingering.promise;
  await copying.promise;
  leadership.decide(undefined);
  assert.equal(signal.aborted, true, "at once");
  leadership.decide(2);
  assert.deepEqual([steps, inventory.require("task", id).state], [["first"], "running"]);
  copied.resolve();
  await role.settled(AbortSignal.timeout(20_000));
  assert.equal((await role.plane.tasks.wait(id, 20_000)).state, "succeeded");
  assert.deepEqual(steps, ["first", "first", "second"]);
});

/** Users and access on a store of their own with a clock that tests can set: for tests. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Clock } from "#core/clock.ts";
import { systemClock } from "#core/system-clock.ts";
import { AccessControl } from "#management/access/access.ts";
import { CredentialTable } from "#management/access/credential-table.ts";
import { LoginLimit } from "#management/access/login-limit.ts";
import { UserService } from "#management/access/user-service.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

export async function accessFixture() {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-access-"));
  const store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
  const inventory = await Inventory.open(store);
  const time = { aheadMs: 0 };
  const clock: Clock = {
    now: () => systemClock.now() + time.aheadMs,
    monotonicMs: () => systemClock.monotonicMs() + time.aheadMs,
    sleep: systemClock.sleep,
  };
  const open = async () => {
    const credentials = await CredentialTable.open(store, clock);
    const access = new AccessControl(inventory, credentials);
    const users = new UserService({ store, inventory, credentials, access, loginLimit: new LoginLimit(clock), clock });
    return { credentials, access, users };
  };
  return {
    store,
    inventory,
    time,
    ...(await open()),
    /** As after a restart of the server. */
    open,
    async [Symbol.asyncDispose]() {
      inventory[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

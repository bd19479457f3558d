/** A volume has the same id whenever it is found anew, and one that was deleted lends its id to nobody for a month. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import type { StoragePoolId } from "@innkeeper/contract/id.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { systemClock } from "#core/system-clock.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import { VolumeIds } from "./volume-id.ts";

const day = 86_400_000;

test("ids of volumes", async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-volume-id-"));
  context.after(() => rm(folder, { recursive: true }));
  await using store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
  let now = 0;
  const ids = new VolumeIds({ ...systemClock, now: () => now });
  const poolId = "pool-000000000000" as StoragePoolId;
  const next = (name = "data.qcow2") => store.transaction((transaction) => ids.next(transaction, poolId, name));
  const first = await next();
  assert.match(first, /^vol-[0-9a-z]{12}$/);
  assert.equal(await next(), first, "found anew");
  assert.notEqual(await next("other.qcow2"), first);
  const volume = { id: first, poolId, name: "data.qcow2" } as Volume;
  await store.transaction(async (transaction) => {
    await transaction.put("volume", volume);
    assert.notEqual(await ids.next(transaction, poolId, "data.qcow2"), first, "taken");
    await ids.retire(transaction, volume);
    assert.equal(await transaction.get("volume", first), undefined);
  });
  assert.notEqual(await next(), first, "made anew under the name of one that was deleted");
  now += 31 * day;
  assert.equal(await next(), first, "nobody remembers");
  await store.transaction((transaction) => ids.retire(transaction, { ...volume, name: "x" }));
});

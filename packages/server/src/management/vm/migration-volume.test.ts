/** A migration's copies on a storage of block devices, which all look written from their first moment, through a crash. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { systemClock } from "#core/system-clock.ts";
import type { Providers } from "#management/providers.ts";
import type { VolumeDefinition } from "#storage/port.ts";
import { begunCopies, type DiskCopy, makeCopies, removeCopies } from "./migration-volume.ts";

const extentBytes = 4 << 20;
const call = { signal: new AbortController().signal };

function copy(target: string, capacityBytes: number): DiskCopy {
  return { target, volume: { poolName: "vg", name: `web-${target}`, format: "raw", capacityBytes } };
}

function fixture() {
  const devices = new Map<string, number>();
  const on: { create?: (name: string) => void } = {};
  const volume = {
    async createVolume({ name, capacityBytes }: VolumeDefinition) {
      if (devices.has(name)) throw new AppError("name_taken", `there is a volume ${name}`);
      on.create?.(name);
      devices.set(name, Math.ceil(capacityBytes / extentBytes) * extentBytes);
      return volume.findVolume("vg", name);
    },
    async findVolume(poolName: string, name: string) {
      const bytes = devices.get(name);
      return bytes && { poolName, name, format: "raw", capacityBytes: bytes, allocationBytes: bytes };
    },
    deleteVolume: async (_poolName: string, name: string) => void devices.delete(name),
  };
  // Only what is asked of them is there.
  const providers = { get: () => ({ storage: { volume } }) } as unknown as Providers;
  const results = new Map<string, unknown>();
  const context = {
    ...call,
    keep: async (name: string, result: unknown) => void results.set(name, JSON.parse(JSON.stringify(result))),
    resultIfAny: <T>(name: string) => results.get(name) as T | undefined,
  };
  return { devices, on, deps: { providers, clock: systemClock }, context };
}

const copies = [copy("vda", 10_000_000), copy("vdb", 20_000_000)];

test("what was made before a crash is known, taken up by the next attempt, and removed when it is undone", async () => {
  const { devices, on, deps, context } = fixture();
  on.create = (name) => {
    if (name === "web-vdb") throw new Error("killed");
  };
  await assert.rejects(makeCopies(deps, "host-1", copies, { ...context, repeated: false }), /killed/);
  delete on.create;
  const { made, taken } = await makeCopies(deps, "host-1", copies, { ...context, repeated: true });
  assert.equal(taken, undefined);
  assert.deepEqual(
    made.map(({ volume }) => volume.capacityBytes),
    [12_582_912, 20_971_520],
  );
  assert.equal(devices.size, 2);
  await removeCopies(deps, "host-1", begunCopies(copies, context), call);
  assert.deepEqual([...devices.keys()], []);
});

test("a device that came while the migration was away is nobody's: it stays, and is named", async () => {
  const { devices, on, deps, context } = fixture();
  on.create = (name) => {
    if (name === "web-vdb") throw new Error("killed");
  };
  await assert.rejects(makeCopies(deps, "host-1", copies, { ...context, repeated: false }), /killed/);
  devices.set("web-vdb", 20_971_520);
  const { made, taken } = await makeCopies(deps, "host-1", copies, { ...context, repeated: true });
  assert.deepEqual([made.length, taken], [1, "web-vdb"]);
  await removeCopies(deps, "host-1", begunCopies(copies, context), call);
  assert.deepEqual([...devices.keys()], ["web-vdb"]);
});

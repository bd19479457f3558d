/** What snapshots and merges of a guest must do on any host: a real one of the lab, and a simulated one. */
import assert from "node:assert/strict";
import type { GuestHypervisor } from "#virtualization/port.ts";
import { hasCode } from "./lab-hypervisor.ts";

/** A guest with disks vda and vdb. */
export interface SnapshotBench {
  readonly guest: GuestHypervisor;
  readonly uuid: string;
  /** Where a new layer goes. */
  readonly file: (name: string) => string;
  readonly signal: AbortSignal;
}

export async function chainOf({ guest, uuid, signal }: SnapshotBench, target: string): Promise<readonly string[]> {
  return (await guest.snapshot.chains(uuid, { signal })).get(target) ?? [];
}

/** The guest runs. */
export async function refusedFreezes(bench: SnapshotBench): Promise<void> {
  const { guest, uuid, file, signal } = bench;
  const call = { signal };
  const before = await chainOf(bench, "vda");
  const none = new Map([["vdz", file("x.qcow2")]]);
  await assert.rejects(guest.snapshot.freeze(uuid, { overlays: none, quiesce: false }, call), hasCode("invalid_field"));
  const taken = new Map([["vda", (await chainOf(bench, "vdb"))[0] ?? ""]]);
  await assert.rejects(guest.snapshot.freeze(uuid, { overlays: taken, quiesce: false }, call));
  const nowhere = new Map([["vda", "/no/such/folder/x.qcow2"]]);
  await assert.rejects(guest.snapshot.freeze(uuid, { overlays: nowhere, quiesce: false }, call));
  const both = { overlays: new Map([["vda", file("y.qcow2")]]), memoryPath: file("y.mem"), quiesce: true };
  await assert.rejects(guest.snapshot.freeze(uuid, both, call), hasCode("invalid_field"));
  assert.deepEqual(await chainOf(bench, "vda"), before);
  assert.equal((await guest.inventory.read(uuid, call)).state, "running");
}

/** The guest runs. */
export async function mergedMiddle(bench: SnapshotBench): Promise<void> {
  const { guest, uuid, file, signal } = bench;
  const call = { signal };
  for (const name of ["m1", "m2", "m3"]) {
    const overlays = new Map([["vdb", file(`${name}-vdb.qcow2`)]]);
    await guest.snapshot.freeze(uuid, { overlays, quiesce: false }, call);
  }
  await guest.lifecycle.suspend(uuid, call);
  const [active = "", top = "", base = "", ...rest] = await chainOf(bench, "vdb");
  assert.equal(active, file("m3-vdb.qcow2"));
  const options = { target: "vdb", topPath: top, basePath: base };
  await guest.snapshot.mergeDown(uuid, options, call);
  assert.deepEqual(await chainOf(bench, "vdb"), [active, base, ...rest]);
  await guest.snapshot.mergeDown(uuid, options, call);
  await guest.lifecycle.resume(uuid, call);
  const wrong = { target: "vdb", topPath: active, basePath: "/no/such/layer" };
  await assert.rejects(guest.snapshot.mergeDown(uuid, wrong, call), hasCode("conflict"));
  const skipping = { target: "vdb", topPath: active, basePath: rest.at(-1) ?? "" };
  await assert.rejects(guest.snapshot.mergeDown(uuid, skipping, call), hasCode("conflict"));
}

/** Ends with a guest that is started and paused. */
export async function frozenWhileOff(bench: SnapshotBench): Promise<void> {
  const { guest, uuid, file, signal } = bench;
  const call = { signal };
  await guest.lifecycle.forceOff(uuid, call);
  const before = (await guest.inventory.read(uuid, call)).spec.disks[0]?.source ?? "";
  const overlays = new Map([["vda", file("s5-vda.qcow2")]]);
  await guest.snapshot.freeze(uuid, { overlays, quiesce: false }, call);
  assert.equal((await guest.inventory.read(uuid, call)).spec.disks[0]?.source, file("s5-vda.qcow2"));
  const options = { target: "vda", topPath: file("s5-vda.qcow2"), basePath: before };
  await assert.rejects(guest.snapshot.mergeDown(uuid, options, call), hasCode("invalid_state"));
  await guest.lifecycle.start(uuid, { paused: true }, call);
  await guest.snapshot.mergeDown(uuid, options, call);
  assert.equal((await chainOf(bench, "vda"))[0], before);
}

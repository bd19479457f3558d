/** What an earlier version remembered of a migration, on simulated hosts: what can't be understood stays, once and for all. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ControlPlane } from "#app/test-support/control-plane.ts";
import { listeningSimHost } from "#app/test-support/sim-host.ts";
import { cleanLeftovers } from "./migration-leftover.ts";

test("copies in the form of an earlier version are left as they are, and the rest is not tried for ever", async () => {
  await using left = await listeningSimHost();
  await using stays = await listeningSimHost({ name: "h2", seed: 2 });
  await using plane = await ControlPlane.open();
  await plane.succeed("host.add", { request: { uri: left.uri, name: "h1" } });
  await plane.succeed("host.add", { request: { uri: stays.uri, name: "h2" } });
  await plane.succeed("vm.create", { request: { name: "a", memory: { sizeMiB: 128 }, host: "h2" } });
  const { id: vmId, name: vmName, uuid } = plane.vm("a");
  const hostId = plane.host("h1").id;
  const origin = { kind: "new", poolName: "local", volumeName: "a.qcow2", format: "qcow2", capacityBytes: 1 << 20 };
  const copies = [{ disk: { target: "vda" }, origin }];
  const leftover = { hostId, vmId, vmName, uuid, copies, copiedPaths: [], stateFiles: [], autostart: false };
  const stored = () => plane.store.transaction((transaction) => transaction.listPrivate("migration-leftover"));
  await plane.store.transaction((transaction) =>
    transaction.putPrivate("migration-leftover", `${hostId} ${uuid}`, leftover),
  );
  await cleanLeftovers(plane.deps, { signal: AbortSignal.timeout(30_000) });
  assert.deepEqual(await stored(), []);
});

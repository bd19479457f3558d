/** The control plane on a simulated fleet: adopts its hosts and VMs, starts, stops and moves them. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { byCounts } from "@innkeeper/sim/fleet/declaration.ts";
import { Fleet } from "@innkeeper/sim/fleet/fleet.ts";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import { ControlPlane } from "./test-support/control-plane.ts";

/** Hosts need addresses to migrate; all of 127.0.0.0/8 is this machine's. */
const firstAddress = `127.${100 + (process.pid % 100)}.${(process.pid >> 8) % 200}.1`;
const port = 26_509;

describe("the control plane on a simulated fleet", { timeout: 120_000 }, () => {
  const clock = new RealClock();
  const fleet = new Fleet(byCounts({ clusters: 1, hosts: 2, vms: 3, seed: 3, storage: "shared" }), clock, {
    startMs: 20,
    bootMs: 200,
    shutdownMs: 200,
  });
  let plane: ControlPlane;

  before(async () => {
    await fleet.listenTcp(firstAddress, port);
    plane = await ControlPlane.open();
    for (const { name, uris } of fleet.hosts)
      await plane.succeed("host.add", { request: { uri: uris[0] ?? "", name } });
  });
  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    clock[Symbol.dispose]();
  });

  test("hosts are adopted with all their VMs", () => {
    assert.equal(plane.inventory.list("vm").length, 6);
    assert.equal(
      plane.inventory.list("host").filter(({ connectionState }) => connectionState === "connected").length,
      2,
    );
  });

  test("a VM is stopped, started and moved live", async () => {
    const domain = [...(fleet.hosts[0]?.host.domains.all ?? [])].find(({ isActive }) => isActive);
    assert.ok(domain);
    const { name, uuid } = domain;
    const { id: vmId } = plane.vm(name);
    await plane.succeed("vm.shutdown", { vmId });
    assert.equal(plane.vm(name).state, "shutoff");
    await plane.succeed("vm.start", { vmId });
    assert.equal(plane.vm(name).state, "running");
    const target = fleet.hosts[1];
    assert.ok(target);
    await plane.succeed("vm.migrate", { vmId, request: { host: target.name } });
    assert.equal(target.host.domains.byUuid(uuid).isActive, true);
    assert.equal(fleet.hosts[0]?.host.domains.find(uuid), undefined);
    assert.equal(plane.vm(name).state, "running");
  });
});

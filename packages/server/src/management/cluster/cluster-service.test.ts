/** Clusters and the hosts in them: names are unique, none that has hosts is deleted, a host is in one at most. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Host, HostChange } from "@innkeeper/contract/resource/host.ts";
import { systemClock } from "#core/system-clock.ts";
import { HostService } from "#management/host/host-service.ts";
import type { ServiceContext } from "#management/service-context.ts";
import { Fleet } from "#management/test-support/fleet.ts";
import { ClusterService } from "./cluster-service.ts";

const context: ServiceContext = { userName: "admin", signal: new AbortController().signal };

describe("clusters", () => {
  let fleet: Fleet;
  let clusters: ClusterService;
  let change: (host: Host, request: HostChange) => Promise<Host>;
  before(async () => {
    fleet = await Fleet.open();
    clusters = new ClusterService({ store: fleet.store, inventory: fleet.inventory, clock: systemClock });
    const hosts = new HostService({ store: fleet.store, inventory: fleet.inventory });
    change = (host, request) => hosts.change(host.id, request, context);
  });
  after(() => fleet[Symbol.asyncDispose]());

  test("a name is one cluster's; what a name may not be is refused as of hosts", async () => {
    const one = await clusters.create({ name: "one", description: "rack 1" });
    await assert.rejects(clusters.create({ name: "one" }), { code: "name_taken", field: "name" });
    await assert.rejects(clusters.create({ name: "a/b" }), { code: "invalid_field", field: "name" });
    const two = await clusters.create({ name: "two" });
    await assert.rejects(clusters.change(two.id, { name: "one" }, context), { code: "name_taken", field: "name" });
    const renamed = await clusters.change(one.id, { name: "uno" }, context);
    assert.deepEqual([renamed.name, renamed.description], ["uno", "rack 1"]);
    const late = { ...context, ifRevision: one.revision };
    await assert.rejects(clusters.change(one.id, { description: "" }, late), { code: "precondition_failed" });
    await assert.rejects(clusters.delete(one.id, late), { code: "precondition_failed" });
    await clusters.delete(two.id, context);
    await assert.rejects(clusters.delete(two.id, context), { code: "not_found", field: "clusterId" });
    await assert.rejects(clusters.change(two.id, { name: "x" }, context), { code: "not_found", field: "clusterId" });
  });

  test("a host comes into one by name or id, is taken out by null, and keeps it through other changes", async () => {
    const cluster = await clusters.create({ name: "c1" });
    const host = await fleet.host("kvm1");
    assert.equal((await change(host, { cluster: "c1" })).clusterId, cluster.id);
    assert.equal((await change(host, { tags: ["rack1"] })).clusterId, cluster.id);
    await assert.rejects(change(host, { cluster: "none" }), { code: "not_found", field: "cluster" });
    const out = await change(host, { cluster: null });
    assert.ok(!("clusterId" in out));
    assert.equal((await change(host, { cluster: cluster.id })).clusterId, cluster.id);
  });

  test("one that has hosts is not deleted, and they are named", async () => {
    const cluster = await clusters.create({ name: "full" });
    const hosts = [];
    for (let number = 1; number <= 12; number++) hosts.push(await fleet.host(`full${number}`));
    for (const host of hosts) await change(host, { cluster: "full" });
    await assert.rejects(clusters.delete(cluster.id, context), {
      code: "conflict",
      message: /^12 hosts are in cluster full: full1, full10, .* and 2 more\. Nothing was changed\.$/,
    });
    for (const host of hosts.slice(1)) await change(host, { cluster: null });
    await assert.rejects(clusters.delete(cluster.id, context), { message: /^Host full1 is in cluster full\./ });
    await change(hosts[0] as Host, { cluster: "c1" });
    await clusters.delete(cluster.id, context);
    assert.equal(fleet.inventory.get("cluster", cluster.id), undefined);
  });
});

/** Clusters and folders on a simulated fleet: what is listed, watched and placed follows hosts in and out of a cluster. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { ManagedFleet } from "./test-support/managed-fleet.ts";

const hostCount = 3;
const vmsPerHost = 4;

interface Change {
  readonly kind: string;
  readonly id: string;
  readonly resource?: { readonly clusterId?: string; readonly name?: string };
}

describe("clusters of a fleet", { timeout: 120_000 }, () => {
  let managed: ManagedFleet;
  let ids: readonly string[];
  before(async () => {
    managed = await ManagedFleet.start({ hosts: hostCount, vms: vmsPerHost });
    ids = (await managed.list("host")).toSorted((a, b) => a.name.localeCompare(b.name)).map(({ id }) => id);
    for (const name of ["c1", "c2"]) assert.equal((await admin("POST", "/clusters", { name })).status, 201);
  });
  after(() => managed?.[Symbol.asyncDispose]());

  const admin: ManagedFleet["server"]["admin"] = (...request) => managed.server.admin(...request);
  const join = async (index: number, cluster: string | null): Promise<void> => {
    assert.equal((await admin("PATCH", `/hosts/${ids[index]}`, { cluster })).status, 200);
  };
  const made = async (name: string): Promise<Vm> => {
    const [vm] = await managed.list("vm", `name=${name}`);
    assert.ok(vm, name);
    return vm;
  };

  test("the VMs of a cluster come and go with its hosts, and who watches is told; a rename is followed", async () => {
    assert.equal(await managed.count("vm", "cluster=c1"), 0);
    const { revision } = (await admin("GET", "/hosts?limit=1")).body;
    const seen = changes(managed, Number(revision), 4);
    await join(0, "c1");
    assert.equal(await managed.count("vm", "cluster=c1"), vmsPerHost);
    await join(1, "c1");
    assert.equal(await managed.count("vm", "host.cluster=c1 and state!=unknown"), 2 * vmsPerHost);
    await join(0, null);
    assert.deepEqual(new Set((await managed.list("vm", "cluster=c1")).map((vm) => vm.hostId)), new Set([ids[1]]));
    assert.equal(await managed.count("vm", "cluster=null"), 2 * vmsPerHost);
    const [cluster] = (await admin("GET", "/clusters?filter=name=c1")).body["items"] as { id: string }[];
    await admin("PATCH", `/clusters/${cluster?.id}`, { name: "one" });
    assert.equal(await managed.count("vm", "cluster=c1"), 0);
    assert.equal(await managed.count("vm", "cluster=one"), vmsPerHost);
    await admin("PATCH", `/clusters/${cluster?.id}`, { name: "c1" });
    assert.deepEqual(await seen, [
      [ids[0], cluster?.id],
      [ids[1], cluster?.id],
      [ids[0], undefined],
      [cluster?.id, "one"],
    ]);
  });

  test("one that has hosts is not deleted; a host that is forgotten is in it no more", async () => {
    await join(2, "c2");
    const [cluster] = (await admin("GET", "/clusters?filter=name=c2")).body["items"] as { id: string }[];
    const refused = await admin("DELETE", `/clusters/${cluster?.id}`);
    assert.equal(refused.status, 409);
    const [host] = await managed.list("host", "cluster=c2");
    assert.match(String(refused.body["detail"]), new RegExp(`^Host ${host?.name} is in cluster c2\\.`));
    const { uri, name } = host ?? {};
    await managed.succeed("DELETE", `/hosts/${host?.id}`);
    await managed.succeed("POST", "/hosts", { uri, name, cluster: "c2" });
    assert.equal(await managed.count("vm", "cluster=c2"), vmsPerHost);
  });

  test("where a VM could move to: any host, those of its own cluster first, each with its cluster", async () => {
    await join(0, "c2");
    await join(1, "c1");
    const [vm] = await managed.list("vm", `hostId=${ids[0]}`);
    const { body } = await admin("POST", `/vms/${vm?.id}/migration-check`, {});
    const hosts = body["hosts"] as { clusterName?: string }[];
    assert.deepEqual(
      hosts.map(({ clusterName }) => clusterName),
      ["c2", "c1"],
    );
    await join(1, null);
    const again = await admin("POST", `/vms/${vm?.id}/migration-check`, {});
    assert.deepEqual(
      (again.body["hosts"] as object[]).map((each) => Object.keys(each).includes("clusterName")),
      [true, false],
    );
  });

  test("a new VM goes to a host of its cluster, keeps its folder, and so do its clones", async () => {
    await join(1, "c1");
    const hardware = { memory: { sizeMiB: 64 }, disks: [{ capacityBytes: 2 ** 20 }] };
    const folder = "R&D/Web";
    await managed.succeed("POST", "/vms", { name: "placed", cluster: "c1", folder, ...hardware });
    const vm = await made("placed");
    assert.deepEqual([vm.hostId, vm.folder], [ids[1], folder]);
    await managed.succeed("POST", `/vms/${vm.id}/clone`, { name: "copied" });
    await managed.succeed("POST", `/vms/${vm.id}/clone`, { name: "elsewhere", folder: "R&D/Test" });
    assert.equal(await managed.count("vm", 'folder="R&D/Web"'), 2);
    assert.equal(await managed.count("vm", "folder~R&D/"), 3);
    await managed.succeed("PATCH", `/vms/${vm.id}`, { folder: "Production" });
    await managed.succeed("PATCH", `/vms/${vm.id}`, { tags: ["a"] });
    assert.equal((await made("placed")).folder, "Production");
    const { body } = await admin("GET", `/vms/${vm.id}/xml`);
    assert.match(String(body["text"]), /<innkeeper:vm [^>]*folder='Production'/);
    await managed.succeed("PATCH", `/vms/${vm.id}`, { folder: null });
    assert.ok(!("folder" in (await made("placed"))));
    await admin("PATCH", `/hosts/${ids[1]}`, { maintenance: true });
    const nowhere = await admin("POST", "/vms", { name: "refused", cluster: "c1", ...hardware });
    assert.match(String(nowhere.body["detail"]), /^(No host of cluster c1|Host \S+ is in maintenance)/);
  });
});

/** The next changes of hosts' clusters and of clusters, as `/watch` tells them: the id, and the cluster or the name. */
async function changes(managed: ManagedFleet, since: number, count: number): Promise<(string | undefined)[][]> {
  const { url, token } = managed.server;
  const response = await fetch(`${url}/api/v1/watch?kind=host,cluster&since=${since}`, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(60_000),
  });
  const found: (string | undefined)[][] = [];
  const clusterOf = new Map<string, string | undefined>();
  let buffered = "";
  for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    const lines = (buffered + chunk).split("\n");
    buffered = lines.pop() ?? "";
    for (const line of lines.filter((each) => each.startsWith("data: "))) {
      const { kind, id, resource } = JSON.parse(line.slice(6)) as Change;
      if (kind === "cluster") found.push([id, resource?.name]);
      // Load and connection of hosts change, too.
      else if (resource?.clusterId !== clusterOf.get(id)) found.push([id, resource?.clusterId]);
      if (kind === "host") clusterOf.set(id, resource?.clusterId);
      if (found.length === count) return found;
    }
  }
  return found;
}

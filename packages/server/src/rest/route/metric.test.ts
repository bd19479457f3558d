/** Metrics over HTTP: nothing without login, what there is not is refused by its field, Prometheus finds its text. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startTestServer } from "../../app/test-support/test-server.ts";

test("/metrics is Prometheus' text, for who is logged in and may read it, also where Prometheus looks for it", async () => {
  await using server = await startTestServer();
  const root = new URL("/metrics", server.url);
  assert.equal((await fetch(root)).status, 401);
  assert.equal((await server.call("GET", "/metrics")).status, 401);
  const token = await server.login("read-only");
  const answer = await fetch(root, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const text = await answer.text();
  assert.match(text, /^# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes \d+$/m);
  assert.match(text, /^# TYPE inn_vm_cpu_usage_ratio gauge$/m);
  const short = await server.call("GET", "/metrics?vms=false", { token });
  assert.equal(short.status, 200);
  assert.doesNotMatch(String(short.body["text"]), /inn_vm_/);
});

test("metrics of what there is not, and times that are none, are refused by their field", async () => {
  await using server = await startTestServer();
  const refused = async (where: string, status: number, field: string): Promise<void> => {
    const answer = await server.admin("GET", where);
    assert.deepEqual([answer.status, answer.body["field"]], [status, field], where);
  };
  await refused("/vms/vm-000000000000/metrics", 404, "vmId");
  await refused("/hosts/host-000000000000/metrics", 404, "hostId");
  await refused("/clusters/cluster-000000000000/metrics", 404, "clusterId");
  await refused("/pools/pool-000000000000/metrics", 404, "poolId");
  await refused("/vms/vm-000000000000/metrics?from=yesterday", 422, "from");
  await refused("/vms/vm-000000000000/metrics?intervalSeconds=7", 422, "intervalSeconds");
  await refused("/vms/vm-000000000000/metrics?metrics=cpu;", 422, "metrics");
});

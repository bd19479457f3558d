/** Clusters over REST: by whom, with which input, and what lists, filters and watches see of them. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startTestServer, type TestServer } from "#app/test-support/test-server.ts";

describe("clusters", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());

  test("made, found, changed, watched and deleted", async () => {
    const created = await server.admin("POST", "/clusters", { name: "c1", description: "rack 1" });
    assert.equal(created.status, 201, JSON.stringify(created.body));
    const where = `/clusters/${String(created.body["id"])}`;
    assert.match(String(created.body["id"]), /^cluster-/);
    const etag = created.headers.get("etag") ?? "";
    const changed = await server.admin("PATCH", where, { name: "c2" }, { "if-match": etag });
    assert.equal(changed.body["name"], "c2");
    assert.equal((await server.admin("PATCH", where, { name: "c3" }, { "if-match": etag })).status, 412);
    assert.equal((await server.admin("GET", where)).body["description"], "rack 1");
    const list = await server.admin("GET", "/clusters?filter=name=c2");
    assert.equal(list.body["totalCount"], 1);
    assert.equal((await server.admin("DELETE", where)).status, 204);
    assert.equal((await server.admin("GET", where)).status, 404);
  });

  test("bad input is refused with the field", async () => {
    await server.admin("POST", "/clusters", { name: "taken" });
    for (const [body, status, field] of [
      [{ name: "taken" }, 409, "name"],
      [{ name: "" }, 422, "name"],
      [{ name: "a/b" }, 422, "name"],
      [{ name: "x".repeat(201) }, 422, "name"],
      [{}, 422, "name"],
      [{ name: "x", hosts: [] }, 422, "hosts"],
      [{ name: "x", description: "x".repeat(5000) }, 422, "description"],
    ] as const) {
      const answer = await server.admin("POST", "/clusters", body);
      assert.equal(answer.status, status, JSON.stringify(answer.body));
      assert.equal(answer.body["field"], field);
    }
    const host = await server.admin("POST", "/hosts", { uri: "qemu+tls://127.0.0.1:1/system", cluster: "none" });
    assert.deepEqual([host.status, host.body["field"]], [404, "cluster"]);
    for (const cluster of ["", 5, {}]) {
      const answer = await server.admin("POST", "/hosts", { uri: "qemu+tls://127.0.0.1:1/system", cluster });
      assert.deepEqual([answer.status, answer.body["field"]], [422, "cluster"]);
    }
  });

  test("a folder that is none, and a placement that there is not, are refused by their field, in words", async () => {
    const memory = { sizeMiB: 64 };
    for (const [folder, words] of [
      ["/a", /slash/],
      ["a//b", /two in a row/],
      ["a/..", /the part/],
      ["a\u0007", /control characters/],
      ["a\ud800", /Unicode/],
    ] as const) {
      for (const [method, where, body] of [
        ["POST", "/vms", { name: "x", memory, folder }],
        ["PATCH", "/vms/vm-000000000000", { folder }],
        ["POST", "/vms/vm-000000000000/clone", { name: "x", folder }],
      ] as const) {
        const answer = await server.admin(method, where, body);
        assert.deepEqual([answer.status, answer.body["field"]], [422, "folder"], `${method} ${where} ${folder}`);
        assert.match(String(answer.body["detail"]), words);
      }
    }
    const nowhere = await server.admin("POST", "/vms", { name: "x", memory, cluster: "none" });
    assert.deepEqual([nowhere.status, nowhere.body["field"]], [404, "cluster"]);
    assert.equal((await server.admin("PATCH", "/vms/vm-000000000000", { folder: null })).status, 404);
  });

  test("who may only read sees clusters and makes none", async () => {
    for (const role of ["read-only", "operator"] as const) {
      const token = await server.login(role);
      assert.equal((await server.call("GET", "/clusters", { token })).status, 200);
      assert.equal((await server.call("GET", "/vms?filter=host.cluster=taken", { token })).status, 200);
      const refused = await server.call("POST", "/clusters", { token, body: { name: "mine" } });
      assert.deepEqual([refused.status, refused.body["fault"]], [403, { privilege: "cluster.create" }]);
    }
  });
});

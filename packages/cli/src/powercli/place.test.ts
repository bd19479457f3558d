/** A name that is a folder's, a cluster's and a host's at once: all of them where VMs are looked for, refused where one is put. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, suite, test } from "node:test";
import { ApiClient } from "#client.ts";
import { onePlace, placesOf, type PlaceNoun } from "./place.ts";

const lists: Readonly<Record<string, readonly object[]>> = {
  "/api/v1/hosts": [{ id: "host-000000000000", name: "web", clusterId: null }],
  "/api/v1/clusters": [{ id: "cluster-000000000000", name: "web" }],
  "/api/v1/vms": [{ id: "vm-000000000000", name: "a", folder: "web/front" }],
};

suite("places of one name", () => {
  const server = createServer((request, response) => {
    const items = lists[new URL(request.url ?? "", "http://x").pathname] ?? [];
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ items, totalCount: items.length, revision: 1 }));
  });
  let api: ApiClient;
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    api = new ApiClient({ server: new URL(`http://127.0.0.1:${port}`), token: "t" });
  });
  after(() => {
    api[Symbol.dispose]();
    server.closeAllConnections();
    server.close();
  });

  const all = ["host", "cluster", "folder"] as const;
  const read = async (text: string, nouns: readonly PlaceNoun[] = all) =>
    (await placesOf(api, [{ text, literal: false }], "-Location", nouns)).map((place) => place?.noun);
  const written = async (text: string, nouns: readonly PlaceNoun[] = all) =>
    Object.keys(await onePlace(api, [{ parameter: "-Location", text, nouns }]));

  test("read: all of them", async () => {
    assert.deepEqual(await read("web"), all);
    assert.deepEqual(await read("web", ["cluster"]), ["cluster"]);
    assert.deepEqual(await read("Resources"), [undefined]);
  });

  test("written to: refused, and both are named; an id or a path says which", async () => {
    await assert.rejects(written("web", ["cluster", "folder"]), /"web" means cluster web, folder web/);
    await assert.rejects(written("web"), (error: Error) => {
      assert.match(JSON.stringify(error), /by its id, a folder as vm\/PATH/);
      return true;
    });
    assert.deepEqual(await written("vm/web"), ["folder"]);
    assert.deepEqual(await written("web", ["cluster"]), ["cluster"]);
    await assert.rejects(written("vm/web", ["cluster"]), /there is no cluster/);
    assert.deepEqual(await read("vm/web"), ["folder"]);
  });
});

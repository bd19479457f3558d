/** Bad input that people and programs really send, by hand: each is refused with the field, before anything is touched. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { startTestServer, type TestServer } from "#app/test-support/test-server.ts";

const vm = { name: "web", memory: { sizeMiB: 512 } };

describe("bad input", () => {
  let server: TestServer;
  let revision: unknown;
  before(async () => {
    server = await startTestServer();
    revision = (await server.admin("GET", "/tasks")).body["totalCount"];
  });
  after(async () => {
    // Nothing of all that became a task.
    assert.equal((await server.admin("GET", "/tasks")).body["totalCount"], revision);
    await server[Symbol.asyncDispose]();
  });

  async function refused(path: string, body: unknown, status: number, field: string | undefined): Promise<void> {
    const answer = await server.admin("POST", path, body);
    const what = `${path} ${JSON.stringify(body)?.slice(0, 300)}\n→ ${JSON.stringify(answer.body)}`;
    assert.deepEqual([answer.status, answer.body["field"]], [status, field], what);
    assert.ok(String(answer.body["detail"]).length > 10, what);
  }

  test("names", async () => {
    for (const name of [
      "",
      "   ",
      " web",
      "web ",
      "../web",
      "a/b",
      "a\\b",
      "..",
      ".hidden",
      "-rf",
      "<b>web</b>",
      "a&b",
      "we'b",
      "NUL\u0000",
      "line\nend",
      "\u001b[31mred",
      "c1\u0085",
      "\u202egpj.exe",
      "iso\u2066late",
      "sep\u2028arator",
      "n".repeat(201),
      "中".repeat(100),
      "\ud800",
    ]) {
      await refused("/vms", { ...vm, name }, 422, "name");
      await refused("/vms/vm-000000000000/snapshots", { name }, 422, "name");
      await refused("/networks", { host: "h", name, forwardMode: "isolated" }, 422, "name");
    }
    // What people have is no reason: here it fails for want of a host alone.
    for (const name of ["my vm", "中文服务器", "😀 emoji 👨‍👩‍👧", "n".repeat(200), "é (1) [x] {y} 100%, #1; $HOME"]) {
      await refused("/vms", { ...vm, name }, 409, "host");
    }
  });

  test("numbers", async () => {
    const rows: [object, string][] = [
      [{ memory: { sizeMiB: 0 } }, "memory.sizeMiB"],
      [{ memory: { sizeMiB: -1 } }, "memory.sizeMiB"],
      [{ memory: { sizeMiB: 0.5 } }, "memory.sizeMiB"],
      [{ memory: { sizeMiB: "512" } }, "memory.sizeMiB"],
      [{ memory: { sizeMiB: null } }, "memory.sizeMiB"],
      [{ memory: { sizeMiB: 2 ** 52 } }, "memory.sizeMiB"],
      [{ memory: {} }, "memory.sizeMiB"],
      [{ cpu: { count: 0 } }, "cpu.count"],
      [{ cpu: { count: -1 } }, "cpu.count"],
      [{ cpu: { count: 10_000 } }, "cpu.count"],
      [{ cpu: { count: true } }, "cpu.count"],
      [{ cpu: { count: 2, topology: { sockets: 1, cores: 1, threads: 1 } } }, "cpu.topology"],
      [{ disks: [{ capacityBytes: 0 }] }, "disks.0.capacityBytes"],
      [{ disks: [{ capacityBytes: 4 * 2 ** 50 }] }, "disks.0.capacityBytes"],
      [{ disks: [{}] }, "disks[0]"],
      [{ disks: [{ path: "relative.qcow2" }] }, "disks.0.path"],
      [{ disks: [{ path: "/a\u0000b" }] }, "disks.0.path"],
      [{ nics: [{ network: "default", mac: "52:54:00:12:34" }] }, "nics.0.mac"],
      [{ nics: [{ network: "default", mac: "01:00:5e:00:00:01" }] }, "nics[0].mac"],
      [{ nics: [{ network: "default", bridge: "br0" }] }, "nics[0]"],
      [{ nics: ["52:54:00:00:00:01", "52:54:00:00:00:01"].map((mac) => ({ network: "a", mac })) }, "nics[1].mac"],
      [{ noSuchField: 1 }, "noSuchField"],
      [{ memory: { sizeMiB: 512, unit: "GiB" } }, "memory.unit"],
      [{ tags: ["../x"] }, "tags.0"],
    ];
    for (const [change, field] of rows) await refused("/vms", { ...vm, ...change }, 422, field);
  });

  test("JSON that is none, or that two programs read differently", async () => {
    for (const body of ["", "{", "undefined", '{"name":"a",}', "{'name':'a'}", "// {}", "[1,]", "NaN", '"\\u12"']) {
      await refused("/vms", body, 400, undefined);
    }
    await refused("/vms", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400, undefined);
    await refused("/vms", '{"name":"a","name":"b","memory":{"sizeMiB":1}}', 400, "name");
    await refused("/vms", '{"name":"a","memory":{"sizeMiB":9007199254740993}}', 422, "memory.sizeMiB");
    await refused("/vms", `${'{"memory":'.repeat(1000)}1${"}".repeat(1000)}`, 400, undefined);
    await refused("/vms", '{"__proto__":{"name":"a"},"name":"a","memory":{"sizeMiB":1}}', 422, "__proto__");
    await refused(
      "/vms",
      '{"constructor":{"prototype":{"x":1}},"name":"a","memory":{"sizeMiB":1}}',
      422,
      "constructor",
    );
    await refused("/vms", "[]", 422, undefined);
  });

  test("queries", async () => {
    const rows: [string, string][] = [
      ["limit=0", "limit"],
      ["limit=100001", "limit"],
      ["limit=1&limit=2", "limit"],
      ["limit=1e3.5", "limit"],
      ["filter=nonsense=1", "filter"],
      ["filter=name=%22open", "filter"],
      ["filter=__proto__=1", "filter"],
      [`filter=${"a".repeat(3000)}`, "filter"],
      ["sort=nonsense", "sort"],
      ["sort=-", "sort"],
      ["sort=name;drop", "sort"],
      ["fields=__proto__", "fields"],
      ["fields=nonsense", "fields"],
      ["cursor=nonsense", "cursor"],
      ["cursor=eyJzb3J0IjoiIn0", "cursor"],
      ["Filter=name=a", "Filter"],
    ];
    for (const [query, field] of rows) {
      const { status, body } = await server.admin("GET", `/vms?${query}`);
      assert.deepEqual([status, body["field"]], [422, field], `${query}: ${JSON.stringify(body)}`);
    }
  });

  test("headers: nothing of a request comes back as a header of its own, and what is malformed is told", async () => {
    const { headers } = await server.admin("GET", "/vms", undefined, { "x-request-id": "a b: c" });
    assert.match(headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
    const raw = async (request: string): Promise<string> => {
      const { hostname, port } = new URL(server.url);
      const socket = connect(Number(port), hostname);
      let answer = "";
      socket.setEncoding("latin1").on("data", (text: string) => (answer += text));
      socket.write(request);
      await new Promise((resolve) => socket.once("close", resolve));
      return answer;
    };
    const line = "GET /api/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    assert.match(await raw(`${line}\r\n`), /^HTTP\/1\.1 200 /);
    assert.match(await raw(`${line}X: ${"x".repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431 [^]*"code":"too_large"/);
    for (const bad of [
      `${line}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${line}Content-Length: -1\r\n\r\n`,
      `${line}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`,
      `${line}Bad Header: x\r\n\r\n`,
      `${line}X: a\u0000b\r\n\r\n`,
      "GET /api/v1/health HTTP/9.9\r\n\r\n",
      "\u0016\u0003\u0001 a TLS hello on the plain port\r\n\r\n",
      "nonsense\r\n\r\n",
    ]) {
      assert.match(await raw(bad), /^HTTP\/1\.1 400 [^]*"code":"bad_request"/, JSON.stringify(bad));
    }
  });
});

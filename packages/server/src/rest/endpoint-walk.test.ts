/** Every endpoint of the contract's table, found by walking it: refused without login, without the privilege, and with bad requests. What random requests do is in fuzz.test.ts. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Endpoint, kindOfParameter } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import { newId } from "@innkeeper/contract/id.ts";
import { role } from "@innkeeper/contract/privilege.ts";
import { Problem } from "@innkeeper/contract/problem.ts";
import { Value } from "typebox/value";
import { type Answer, startTestServer, type TestServer } from "#app/test-support/test-server.ts";

const all = Object.entries<Endpoint>(endpoint);
const withBody = all.filter(([, each]) => each.body !== undefined);

/** A path with ids of the right form that nothing has. */
function pathOf(each: Endpoint): string {
  return each.path.replace(/\{(\w+)\}/g, (_, name: string) => newId(kindOfParameter(name)));
}

function assertProblem(answer: Answer, status: number | readonly number[], what: string): void {
  const expected = typeof status === "number" ? [status] : status;
  assert.ok(expected.includes(answer.status), `${what}: ${answer.status} ${JSON.stringify(answer.body)}`);
  assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json\b/, what);
  assert.ok(Value.Check(Problem, answer.body), `${what}: ${JSON.stringify(answer.body)}`);
  assert.equal(answer.headers.get("x-request-id"), answer.body["requestId"], what);
}

describe("every endpoint", () => {
  let server: TestServer;
  const tokens = { "read-only": "", operator: "" };
  before(async () => {
    server = await startTestServer();
    tokens["read-only"] = await server.login("read-only");
    tokens.operator = await server.login("operator");
  });
  after(() => server[Symbol.asyncDispose]());

  test("the table has endpoints, and each is walked", () => assert.ok(all.length > 60, `${all.length}`));

  for (const [operationId, each] of all) {
    if (each.access === "open") continue;
    test(`${operationId} refuses who is not logged in, before it reads the body`, async () => {
      const body = each.body === undefined ? undefined : "{ not json";
      assertProblem(await server.call(each.method, pathOf(each), { body }), 401, "no login");
      const wrong = await server.call(each.method, pathOf(each), { token: `inns_${"x".repeat(43)}`, body });
      assertProblem(wrong, 401, "a made-up session");
      assert.match(wrong.headers.get("www-authenticate") ?? "", /^Bearer/);
    });
    const { access } = each;
    if (access === "self") continue;
    for (const name of ["read-only", "operator"] as const) {
      if ((role[name] as readonly string[]).includes(access)) continue;
      test(`${operationId} refuses a user of role ${name}, naming ${access}`, async () => {
        const body = each.body && "{ not json";
        const answer = await server.call(each.method, pathOf(each), { token: tokens[name], body });
        assertProblem(answer, 403, operationId);
        assert.deepEqual(answer.body["fault"], { privilege: access });
      });
    }
  }

  for (const [operationId, each] of withBody) {
    test(`${operationId} refuses malformed bodies, and names the field`, async () => {
      const send = (body: unknown, headers = {}) =>
        server.call(each.method, pathOf(each), { token: server.token, body, headers });
      for (const body of ["{", "nul", '{"name":"a",}', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])]) {
        assertProblem(await send(body), 400, `${operationId} ${String(body)}`);
      }
      for (const body of [[], 5, "null", '"text"', true]) {
        assertProblem(
          await send(typeof body === "string" ? body : JSON.stringify(body)),
          422,
          `${operationId} ${String(body)}`,
        );
      }
      const unknown = await send({ ...validish(each), noSuchField: 1 });
      assertProblem(unknown, 422, operationId);
      const proto = await send('{"__proto__":{"admin":true},"constructor":{}}');
      assertProblem(proto, 422, operationId);
      assertProblem(await send("a=b", { "content-type": "application/x-www-form-urlencoded" }), 400, operationId);
      assertProblem(await send(`{"name":"${"x".repeat(1_100_000)}"}`), 413, operationId);
    });
  }

  test("paths take ids: a name is refused, even if something has it", async () => {
    for (const [operationId, each] of all) {
      const [, parameter] = /\{(\w+)\}/.exec(each.path) ?? [];
      if (parameter === undefined) continue;
      const answer = await server.admin(each.method, each.path.replace(/\{\w+\}/, "admin"));
      assertProblem(answer, 404, operationId);
      assert.equal(answer.body["field"], parameter, operationId);
    }
    assert.equal((await server.admin("GET", "/users?filter=name=admin")).body["totalCount"], 1);
  });

  test("unknown query parameters, bad ids and bad paths are refused", async () => {
    for (const [operationId, each] of all) {
      if (each.access === "open") continue;
      const answer = await server.admin(each.method, `${pathOf(each)}?noSuchParameter=1`);
      assert.ok(answer.status >= 400 && answer.status < 500, `${operationId}: ${answer.status}`);
      if (each.method === "GET") assertProblem(answer, 422, operationId);
    }
    for (const bad of ["..%2f..%2fetc", "%00", "vm-", "x".repeat(300), "%ff", "中文"]) {
      const answer = await server.admin("GET", `/vms/${bad}`);
      assert.ok([400, 404].includes(answer.status), `${bad}: ${answer.status}`);
    }
    assertProblem(await server.admin("GET", "/nothing"), 404, "an unknown path");
    assertProblem(await server.admin("PUT", "/vms"), 404, "an unknown method");
  });
});

/** Required fields with some value, so that the unknown field is not the only fault. */
function validish(each: Endpoint): Record<string, unknown> {
  const required = (each.body as { required?: readonly string[] }).required ?? [];
  return Object.fromEntries(required.map((name) => [name, "x"]));
}

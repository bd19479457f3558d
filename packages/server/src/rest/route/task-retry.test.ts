/** Trying a task again over REST: a new task, for who may do what the task does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { startTestServer } from "#app/test-support/test-server.ts";
import { AppError } from "#core/app-error.ts";
import { type Operation, operation } from "#management/task/operation.ts";

test("what a task left half-done is finished by who has the privilege of its operation, and by nobody else", async () => {
  let broken = true;
  const half: Operation = operation({
    name: "pool.create",
    input: Type.Unknown(),
    claims: () => ({ exclusive: ["pool"] }),
    target: () => undefined,
    steps: [
      {
        name: "commit",
        pointOfNoReturn: true,
        do: () => (broken ? Promise.reject(new AppError("host_failed", "No.")) : Promise.resolve()),
      },
    ],
  });
  await using server = await startTestServer({
    replace: ({ operations }) => ({ operations: [...operations.filter(({ name }) => name !== "pool.create"), half] }),
  });
  const body = { host: "h1", name: "p", type: "dir", path: "/p" };
  const failed = await server.admin("POST", "/pools?waitMs=60000", body);
  assert.equal(failed.body["state"], "failed", JSON.stringify(failed.body));
  assert.deepEqual(failed.body["unfinished"], ["commit"]);
  broken = false;
  const where = `/tasks/${String(failed.body["id"])}/retry?waitMs=60000`;
  // An operator may try tasks again, but not make pools.
  const refused = await server.call("POST", where, { token: await server.login("operator") });
  assert.equal(refused.status, 403);
  assert.deepEqual(refused.body["fault"], { privilege: "pool.create" });
  const retried = await server.admin("POST", where);
  assert.equal(retried.status, 202);
  assert.equal(retried.body["state"], "succeeded", JSON.stringify(retried.body));
  assert.equal(retried.body["retryOf"], failed.body["id"]);
  const again = await server.admin("POST", where);
  assert.equal(again.status, 409);
  assert.match(String(again.body["detail"]), new RegExp(String(retried.body["id"])));
});

/** A thousand starts asked for at once: limits per host and in all hold, users take turns, everybody sees where each task is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { hostDraft } from "#app/test-support/host-draft.ts";
import { ClaimTable } from "#management/task/claim-table.ts";
import { EngineFixture } from "#management/task/engine-fixture.ts";
import { operation } from "#management/task/operation.ts";
import { withLimits } from "#management/task/task-limit.ts";

const hostCount = 25;
const stormSize = 1000;
const busyHosts = 5;
const hostId = (index: number) => `host-${String(index).padStart(12, "0")}` as const;
/** Every other VM is on one of a few hosts, which have more to do than they may at once. */
const hostOf = (vm: number) =>
  hostId(vm % 2 === 0 ? (vm / 2) % busyHosts : busyHosts + (((vm - 1) / 2) % (hostCount - busyHosts)));
const never = new AbortController().signal;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Starts that last until they are let go, and count themselves. */
function starts() {
  const running = new Map<string, number>();
  const order: string[] = [];
  let most = { onHost: 0, inAll: 0 };
  const held: (() => void)[] = [];
  const count = (host: string, by: number): void => {
    running.set(host, (running.get(host) ?? 0) + by);
    const all = [...running.values()];
    most = {
      onHost: Math.max(most.onHost, ...all),
      inAll: Math.max(
        most.inAll,
        all.reduce((sum, each) => sum + each, 0),
      ),
    };
  };
  const vmStart = operation({
    name: "vm.start",
    input: Type.Object({ request: Type.Object({ host: Type.String(), vm: Type.Integer() }) }),
    claims: ({ request }) => ({ exclusive: [`vm:${request.vm}`] }),
    target: () => undefined,
    steps: [
      {
        name: "start",
        async do({ input: { request }, userName, progress }) {
          count(request.host, 1);
          order.push(userName);
          progress({ done: 30, total: 100, unit: "percent" }, "booting");
          if (held.length < 200) await new Promise<void>((resolve) => held.push(resolve));
          count(request.host, -1);
        },
      },
    ],
  });
  return { vmStart, order, held, most: () => most };
}

const isBooting = ({ state, message, progress }: Task): boolean =>
  state === "running" && message === "booting" && progress.done === 30 && progress.unit === "percent";

/** Waits until what is shown of tasks is so. */
async function seen({ inventory }: EngineFixture, isSo: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(30_000);
  while (!isSo()) {
    signal.throwIfAborted();
    const { promise, resolve } = Promise.withResolvers<void>();
    const stopListening = inventory.onChange(() => resolve());
    signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    stopListening();
  }
}

test("1,000 starts of one user and 10 of another: limits hold, the second user does not wait for the first, all end", async () => {
  const { vmStart, order, held, most } = starts();
  await using fixture = await EngineFixture.open([vmStart]);
  await fixture.store.transaction(async (transaction) => {
    for (let index = 0; index < hostCount; index++) {
      await transaction.put("host", hostDraft(hostId(index), `kvm${index}`));
    }
  });
  const submit = (userName: string, vm: number) =>
    fixture.engine.submit("vm.start", { request: { host: hostOf(vm), vm } }, { userName });
  const storm = await Promise.all(Array.from({ length: stormSize }, (_, vm) => submit("alice", vm)));
  const late = await Promise.all(Array.from({ length: 10 }, (_, index) => submit("bob", stormSize + index)));
  const states = Map.groupBy(fixture.inventory.list("task"), (task) => task.state);
  assert.equal(fixture.inventory.list("task").length, stormSize + 10);
  assert.equal(states.get("succeeded"), undefined);
  assert.ok((states.get("queued")?.length ?? 0) >= stormSize - 128);
  for (const task of states.get("queued") ?? []) assert.equal(task.message, "waiting for its turn");
  await seen(fixture, () => fixture.inventory.list("task").filter(isBooting).length === 128);
  // One after the other ends, until none is held back any more.
  for (let round = 0; round < 100_000 && order.length < stormSize + 10; round++) {
    held.shift()?.();
    await settle();
  }
  for (const release of held) release();
  const ended = await Promise.all([...storm, ...late].map(({ id }) => fixture.engine.wait(id, 60_000)));
  assert.deepEqual([...new Set(ended.map(({ state }) => state))], ["succeeded"]);
  assert.deepEqual(most(), { onHost: 8, inAll: 128 }, "as many as may run do, and no more");
  assert.ok(order.lastIndexOf("bob") < 300, `the last of bob's was number ${order.lastIndexOf("bob")}`);
});

test("of those who wait for one place, users take turns; each one's own tasks are in order", async () => {
  const table = new ClaimTable();
  const log: string[] = [];
  const claims = { exclusive: [], limited: [{ key: "start on host:1", max: 1 }] };
  const run = async (user: string, number: number): Promise<void> => {
    const hold = await table.acquire(`${user}${number}`, claims, never, user);
    log.push(`${user}${number}`);
    await settle();
    hold?.release();
  };
  const numbers = [1, 2, 3, 4];
  await Promise.all([...numbers.map((number) => run("a", number)), ...numbers.map((number) => run("b", number))]);
  assert.deepEqual(
    log.filter((each) => each.startsWith("a")),
    ["a1", "a2", "a3", "a4"],
  );
  assert.deepEqual(
    log.filter((each) => each.startsWith("b")),
    ["b1", "b2", "b3", "b4"],
  );
  assert.ok(log.indexOf("b1") <= 2, log.join(" "));
  assert.ok(log.indexOf("b2") <= 4, log.join(" "));
});

const keys = (name: string) =>
  withLimits(name, { exclusive: ["vm:1"], shared: ["host:h1", "host:h2"] }).limited?.map(
    ({ key, max }) => `${key} ${max}`,
  );

test("limits are those of what the task is for its hosts; who has none of its own has the general ones", () => {
  assert.deepEqual(keys("vm.migrate"), [
    "task 256",
    "migration 64",
    "task on host:h1 16",
    "migration on host:h1 2",
    "task on host:h2 16",
    "migration on host:h2 2",
  ]);
  assert.deepEqual(keys("vm.rename"), ["task 256", "task on host:h1 16", "task on host:h2 16"]);
});

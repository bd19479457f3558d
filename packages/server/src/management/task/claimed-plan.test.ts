/** Who plans on hosts that are away waits for those that are being connected anew, if it may choose, and keeps none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { hostDraft } from "#app/test-support/host-draft.ts";
import { AppError } from "#core/app-error.ts";
import { planStep } from "#management/task/claimed-plan.ts";
import { EngineFixture } from "#management/task/engine-fixture.ts";
import { type Operation, operation } from "#management/task/operation.ts";
import { hostClaim } from "#management/task/resource-claim.ts";

const user = { userName: "tester" };
const hosts = ["host-000000000001", "host-000000000002", "host-000000000003"] as const;
const [one, two, three] = hosts;

/** Hosts that are all away; `reconnect` has one for itself until it is `opened`. */
async function openFleet() {
  const opened = Promise.withResolvers<void>();
  let isAway = true;
  const reconnect = operation({
    name: "host.reconnect",
    input: Type.Object({ hostId: Type.String(), wait: Type.Boolean() }),
    claims: ({ hostId }) => ({ exclusive: [hostClaim(hostId)] }),
    target: () => undefined,
    steps: [{ name: "connect", do: ({ input }) => (input.wait ? opened.promise : Promise.resolve()) }],
  });
  const migrate = (name: string): Operation =>
    operation({
      name,
      input: Type.Object({ request: Type.Object({ host: Type.Optional(Type.String()) }) }),
      claims: () => ({ exclusive: [] }),
      target: () => undefined,
      steps: [
        planStep(
          fixture.inventory,
          async () => {
            if (isAway) throw new AppError("host_unreachable", "It is away.");
            return { hostId: two, volumes: [] };
          },
          (planned) => planned,
        ),
      ],
    });
  // Its plan reads the inventory that it is opened with.
  const operations: Operation[] = [reconnect];
  const fixture = await EngineFixture.open(operations);
  operations.push(migrate("vm.migrate"), migrate("vm.create"));
  await fixture.restart();
  await fixture.store.transaction(async (transaction) => {
    for (const [index, id] of hosts.entries()) {
      await transaction.put("host", { ...hostDraft(id, `kvm${index}`), connectionState: "connecting" });
    }
  });
  const open = (): void => {
    isAway = false;
    opened.resolve();
  };
  return { fixture, open };
}

test("one that was asked for its host waits for no other, fails at once, and holds no host that is away", async () => {
  const { fixture, open } = await openFleet();
  await using _ = fixture;
  await fixture.engine.submit("host.reconnect", { hostId: two, wait: true }, user);
  const failed = await fixture.run("vm.migrate", { request: { host: one } });
  assert.deepEqual([failed.state, failed.error?.code], ["failed", "host_unreachable"]);
  const other = await fixture.run("host.reconnect", { hostId: three, wait: false });
  assert.equal(other.state, "succeeded");
  open();
});

test("one that may choose waits while a host is connected anew, plans again, and holds that one alone", async () => {
  const { fixture, open } = await openFleet();
  await using _ = fixture;
  const reconnect = await fixture.engine.submit("host.reconnect", { hostId: two, wait: true }, user);
  const create = await fixture.engine.submit("vm.create", { request: {} }, user);
  const seen = Promise.withResolvers<void>();
  const stopListening = fixture.inventory.onChange(() => {
    if (/waiting for hosts/.test(fixture.inventory.require("task", create.id).message)) seen.resolve();
  });
  await seen.promise;
  stopListening();
  open();
  for (const { id } of [reconnect, create]) assert.equal((await fixture.engine.wait(id, 10_000)).state, "succeeded");
});

const target = () => undefined;
const claimsVm = () => ({ exclusive: ["vm:vm-1"] });

test("after a restart who waited for a place, and so held nothing, comes after who was at work on the same VM", async () => {
  const log: string[] = [];
  let isKilled = false;
  const gate = Promise.withResolvers<void>();
  const input = Type.Object({});
  const busy = operation({
    name: "pool.busy",
    input,
    claims: () => ({ exclusive: ["pool:1"] }),
    target,
    steps: [{ name: "work", do: ({ signal }) => (isKilled ? Promise.resolve() : untilAborted(signal)) }],
  });
  const snapshot = operation({
    name: "snapshot.create",
    input,
    claims: claimsVm,
    target,
    steps: [
      { name: "plan", do: async ({ claim }) => void (await claim({ exclusive: [], shared: ["pool:1"] })) },
      { name: "work", do: async () => void log.push("snapshot") },
    ],
  });
  const revert = operation({
    name: "snapshot.revert",
    input,
    claims: claimsVm,
    target,
    steps: [
      {
        name: "work",
        do: async ({ signal }) => {
          if (!isKilled) gate.resolve();
          await (isKilled ? Promise.resolve() : untilAborted(signal));
          log.push("revert");
        },
      },
    ],
  });
  await using fixture = await EngineFixture.open([busy, snapshot, revert]);
  await fixture.engine.submit("pool.busy", {}, user);
  const first = await fixture.engine.submit("snapshot.create", {}, user);
  const second = await fixture.engine.submit("snapshot.revert", {}, user);
  await gate.promise;
  assert.equal(fixture.inventory.require("task", first.id).state, "queued");
  isKilled = true;
  await fixture.restart();
  for (const { id } of [first, second]) assert.equal((await fixture.engine.wait(id, 10_000)).state, "succeeded");
  assert.deepEqual(log, ["revert", "snapshot"]);
});

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((_resolve, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
  );
}

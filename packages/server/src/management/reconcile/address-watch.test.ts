/** How often guests are asked for their addresses, by virtual time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { GuestAddress, Vm } from "@innkeeper/contract/resource/vm.ts";
import { silentLogger } from "#core/log.ts";
import { VirtualClock } from "#core/test-support/virtual-clock.ts";
import { AddressWatch } from "./address-watch.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";

const hostId = "host-1";

function fixture(hosts: number, vms: readonly Partial<Vm>[], answer: readonly GuestAddress[]) {
  const clock = new VirtualClock();
  const asked: { readonly uuid: string; readonly atMs: number }[] = [];
  const running = vms.map((vm) => ({
    id: `vm-${vm.uuid}`,
    hostId,
    state: "running",
    addresses: [],
    spec: { nics: [{}] },
    ...vm,
  })) as unknown as Vm[];
  const deps = {
    clock,
    inventory: {
      count: () => hosts,
      byHost: () => running,
      get: (_kind: "vm", id: string) => running.find((vm) => vm.id === id),
    },
    providers: {
      get: () => ({
        guest: {
          inventory: {
            addresses: async (uuid: string) => {
              asked.push({ uuid, atMs: clock.monotonicMs() });
              return answer;
            },
          },
        },
      }),
    },
    writes: { run: async () => {} },
    log: silentLogger,
  } as unknown as ReconcileDeps;
  const watch = new AddressWatch(deps, hostId);
  const stop = new AbortController();
  const ended = watch.run(stop.signal);
  return {
    watch,
    timesOf: (uuid: string) => asked.filter((each) => each.uuid === uuid).map(({ atMs }) => atMs),
    pass: (forMs: number) => clock.pass(forMs),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

const minuteMs = 60_000;
const startedAt = (agoMs: number): string => new Date(new VirtualClock().startMs - agoMs).toISOString();

test("in a small fleet one without addresses is searched for, then looked at now and then", async () => {
  await using under = fixture(1, [{ uuid: "silent" }], []);
  await under.pass(5 * minuteMs);
  const search = under.timesOf("silent").length;
  assert.ok(search > 50 && search < 90, `${search} times`);
  await under.pass(10 * minuteMs);
  assert.ok(under.timesOf("silent").length - search <= 21);
});

test("in a large fleet one that has run for long is asked once, one that just started is searched for", async () => {
  const vms = [
    { uuid: "old" },
    { uuid: "older", startedAt: startedAt(3_600_000) },
    { uuid: "new", startedAt: startedAt(1000) },
  ];
  await using under = fixture(2500, vms, []);
  await under.pass(4 * minuteMs);
  assert.equal(under.timesOf("old").length, 1);
  assert.equal(under.timesOf("older").length, 1);
  assert.ok(under.timesOf("new").length > 40);
  under.watch.poke("old");
  await under.pass(10_000);
  assert.ok(under.timesOf("old").length > 4);
});

test("what is known is looked at again in passing", async () => {
  const address: GuestAddress = { address: "10.0.0.1", source: "lease" };
  await using under = fixture(1, [{ uuid: "known", addresses: [address] }], [address]);
  await under.pass(10 * minuteMs);
  const count = under.timesOf("known").length;
  assert.ok(count >= 19 && count <= 21, `${count} times`);
});

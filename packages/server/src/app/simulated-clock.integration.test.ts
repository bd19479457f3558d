/** Clocks are set an hour ahead and back, of the control plane and of hosts: sessions, watches, tasks, keys and events go on. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { destroy, BOOTED, start } from "@innkeeper/sim/host/domain/lifecycle.ts";
import { hourMs, OffsetClock } from "#core/test-support/jumping-clock.ts";
import { ManagedFleet } from "./test-support/managed-fleet.ts";
import { Watcher } from "./test-support/watcher.ts";

/** As the clock is set, one after the other. */
const offsetsMs = [hourMs, -hourMs, 0];

describe("clocks that are set", { timeout: 120_000 }, () => {
  const clock = new OffsetClock();
  let managed: ManagedFleet;
  before(async () => {
    managed = await ManagedFleet.start({ hosts: 2, vms: 3, clock });
  });
  after(() => managed?.[Symbol.asyncDispose]());

  const revision = async (): Promise<number> => Number((await managed.server.admin("GET", "/system")).body["revision"]);

  test("who is logged in stays so, watches stay, keys hold, tasks end, events are in their order", async () => {
    const { server, fleet } = managed;
    const began = await revision();
    await using watcher = new Watcher(() => server.url, server.token, began);
    const token = await server.admin("POST", "/tokens", { name: "monitor", expiresInDays: 1 });
    const secret = String(token.body["secret"]);
    const [host] = await managed.list("host");
    const refresh = () =>
      server.admin("POST", `/hosts/${host?.id}/refresh?waitMs=30000`, undefined, { "idempotency-key": "once" });
    const ids = new Set<unknown>([(await refresh()).body["id"]]);
    const vms = (await managed.list("vm")).filter(({ state }) => state === "running");
    const [vm] = vms;
    assert.ok(vm);
    for (const offsetMs of offsetsMs) {
      const isOff = (await managed.list("vm", `id=${vm.id}`))[0]?.state === "shutoff";
      const asked = managed.run("POST", `/vms/${vm.id}/${isOff ? "start" : "force-off"}`);
      clock.offsetMs = offsetMs;
      const task: Task = await asked;
      assert.equal(task.state, "succeeded");
      ids.add((await refresh()).body["id"]);
      for (const bearer of [server.token, secret]) {
        assert.equal((await server.call("GET", "/me", { token: bearer })).status, 200, `${offsetMs}`);
      }
    }
    assert.equal(ids.size, 1, "one request, one task");
    // What happens on a host is seen whatever the clocks say, and told in the order in which it happened.
    const [first] = fleet.hosts;
    assert.ok(first);
    const domain = [...first.host.domains.all].at(-1);
    assert.ok(domain);
    const types: string[] = [];
    for (const offsetMs of offsetsMs) {
      clock.offsetMs = -offsetMs;
      first.host.clock.offsetMs = offsetMs;
      types.unshift(domain.isActive ? "vm.stopped" : "vm.started");
      if (domain.isActive) destroy(first.host.domains, domain);
      else await start(first.host.domains, domain, BOOTED);
      const state = domain.isActive ? "running" : "shutoff";
      await managed.until(
        "it is seen",
        async () => (await managed.count("vm", `name=${domain.name} and state=${state}`)) === 1,
      );
      await managed.until("it is told", async () => (await told()).length === types.length);
    }
    async function told(): Promise<string[]> {
      const events = await managed.list("event");
      const own = events.filter(({ resources, revision: at }) => at > began && resources[0]?.name === domain?.name);
      return own.flatMap(({ type }) => (/^vm\.(started|stopped)$/.test(type) ? [type] : []));
    }
    assert.deepEqual(await told(), types, "newest first");
    const end = await revision();
    await managed.until("the watch has all", async () => watcher.last >= end);
    assert.deepEqual([watcher.connects, watcher.gaps(), watcher.refusals], [1, [], []]);
  });

  test("a host's clock is not taken for ours: load, and when what began", async () => {
    const { fleet, server } = managed;
    clock.offsetMs = 0;
    for (const offsetMs of offsetsMs) {
      for (const each of fleet.hosts) each.host.clock.offsetMs = offsetMs;
      for (const { id } of await managed.list("host")) {
        await managed.succeed("POST", `/hosts/${id}/refresh`);
        const { body } = await server.admin("GET", `/hosts/${id}`);
        const usage = body["usage"] as { cpuLoadPct: number; sampledAt: string };
        assert.ok(usage.cpuLoadPct >= 0 && usage.cpuLoadPct <= 100, `${usage.cpuLoadPct} %`);
        assert.ok(Math.abs(Date.parse(usage.sampledAt) - Date.now()) < hourMs / 2, usage.sampledAt);
      }
    }
    for (const { startedAt } of await managed.list("vm", "state=running")) {
      assert.ok(startedAt === undefined || Date.parse(startedAt) <= Date.now() + hourMs, String(startedAt));
    }
  });
});

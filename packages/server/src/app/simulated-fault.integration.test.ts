/** Hosts of a fleet fail, many at once: the others go on as if nothing were, those that fail are shown so and come back by themselves. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type { Event } from "@innkeeper/contract/resource/event.ts";
import { held } from "@innkeeper/libvirt/testing/resource.ts";
import { readRule } from "@innkeeper/sim/fault/rule.ts";
import type { FleetHost } from "@innkeeper/sim/fleet/fleet.ts";
import type { SimDomain } from "@innkeeper/sim/host/domain/sim-domain.ts";
import type { SimHost } from "@innkeeper/sim/host/sim-host.ts";
import { BOOTED, destroy, start, undefine } from "@innkeeper/sim/host/domain/lifecycle.ts";
import { ManagedFleet } from "./test-support/managed-fleet.ts";

const hostCount = 100;
const vmsPerHost = 3;
/** A few connections' worth of buffers; one of each host's would be ten times as much. */
const growthBytes = 20_000_000;

describe("a fleet of which a part fails", { timeout: 240_000 }, () => {
  let managed: ManagedFleet;
  before(async () => {
    managed = await ManagedFleet.start({ hosts: hostCount, vms: vmsPerHost });
  });
  afterEach(async () => {
    managed?.fleet.setFaults([]);
    await managed?.until("everything is as it is on the hosts", () => isTrue());
  });
  after(() => managed?.[Symbol.asyncDispose]());

  /** All hosts are connected, all VMs are there once, each in the state that it has on its host. */
  async function isTrue(): Promise<boolean> {
    if ((await managed.count("host", "state=connected")) !== hostCount) return false;
    const shown = (await managed.list("vm")).map(({ name, state }) => `${name} ${state}`).toSorted();
    const real = managed.fleet.hosts.flatMap(({ host }) =>
      [...host.domains.all].map(({ name, isActive }) => `${name} ${isActive ? "running" : "shutoff"}`),
    );
    return JSON.stringify(shown) === JSON.stringify(real.toSorted());
  }
  const revision = async (): Promise<number> => Number((await managed.server.admin("GET", "/system")).body["revision"]);
  const eventsSince = async (since: number): Promise<Event[]> =>
    (await managed.list("event")).filter((event) => event.revision > since);

  test("all hosts drop their connections at once, again and again: nothing is lost, doubled or left behind", async () => {
    const { fleet } = managed;
    const { hosts } = fleet;
    const dropAll = async (meanwhile: () => Promise<void>): Promise<void> => {
      const since = await revision();
      for (const { daemon } of hosts) daemon.drop();
      await meanwhile();
      await managed.until("all is read again", async () => {
        const connected = (await eventsSince(since)).filter(({ type }) => type === "host.connected");
        return connected.length >= hostCount && (await isTrue());
      });
      // Those that boot tell of their agents.
      const events = (await eventsSince(since)).filter(({ type }) => type !== "vm.agent-connected");
      // Unreachable are those whose turn came while they refused, or that were lost too soon again.
      const { "host.unreachable": refused = 0, ...others } = counted(events);
      assert.deepEqual(others, { "host.disconnected": hostCount, "host.connected": hostCount });
      assert.ok(refused <= hostCount, `${refused}`);
    };
    await dropAll(async () => {});
    const before = await held();
    for (let round = 0; round < 3; round++) {
      fleet.setFaults([readRule({ kind: "refuse" })]);
      // What happens now nobody is told of, and no event is made up for it.
      const changeAll = async (): Promise<void> => {
        await Promise.all(hosts.map(change));
        fleet.setFaults([]);
      };
      await dropAll(changeAll);
    }
    for (const { name, daemon } of hosts) assert.equal(daemon.sessions.size, 1, name);
    const later = await held();
    assert.ok(
      later.descriptorCount - before.descriptorCount <= 4,
      `${before.descriptorCount}, ${later.descriptorCount}`,
    );
    const grownBytes = later.heapBytes - before.heapBytes;
    assert.ok(grownBytes < growthBytes, `${grownBytes} bytes more`);
  });

  test("a tenth of the hosts hangs: nobody waits for them, they are shown as what they are, and come back", async () => {
    const { hosts } = managed.fleet;
    const [deaf, mute, good] = [hosts.slice(0, 9), hosts.slice(9, 10), hosts.slice(10)];
    for (const each of hosts) await runFirst(each);
    await managed.until("their first VM runs, their last does not", isTrue);
    const idByName = new Map((await managed.list("vm")).map(({ name, id }) => [name, id]));
    const idOf = ({ name }: { readonly name: string }): string => idByName.get(name) ?? "";
    const firstOn = ({ host }: FleetHost): string => idOf(firstAndLast(host).first);
    const since = await revision();
    const hungAtMs = Date.now();
    managed.hang(deaf);
    // Its libvirtd takes connections, keeps them alive, and answers nothing about guests.
    managed.hang(mute, "domain*", "connectGetAllDomainStats", "connectListAllDomains");

    // Tasks and what happens on hosts: those that hang are asked first.
    const off = (each: FleetHost) => managed.run("POST", `/vms/${firstOn(each)}/force-off`);
    const hung = deaf.map(off);
    const tasks = await Promise.all(good.map(off));
    assert.deepEqual(counted(tasks.map(({ state }) => ({ type: state }))), { succeeded: good.length });
    for (const each of good) await change(each);
    // One event each: of the VM that a task has stopped, and of the one that was started on its host.
    const expected = new Map([
      ["vm.stopped", good.map(firstOn)],
      ["vm.started", good.map(({ host }) => idOf(firstAndLast(host).last))],
    ]);
    const seen = async (): Promise<{ events: Event[]; ids: [string, string[]][] }> => {
      const events = await eventsSince(since);
      const ids = [...expected].map(([type, vmIds]): [string, string[]] => {
        const told = events.flatMap((event) => (event.type === type ? [event.resources[0]?.id ?? ""] : []));
        return [type, told.filter((id) => vmIds.includes(id))];
      });
      return { events, ids };
    };
    await managed.until("what happened on the others", async () =>
      (await seen()).ids.every(([, ids]) => ids.length >= good.length),
    );
    const { events, ids } = await seen();
    assert.deepEqual(counted(events)["host.disconnected"], undefined, "known before it is known that a host hangs");
    for (const [type, told] of ids) assert.deepEqual(told.toSorted(), expected.get(type)?.toSorted(), type);

    // What is asked of those that hang ends with an error that names the host and what to do.
    const statistics = mute.map((each) => managed.server.admin("GET", `/vms/${firstOn(each)}/statistics`));
    for (const [index, task] of (await Promise.all(hung)).entries()) {
      assert.equal(task.state, "failed");
      assert.equal(task.error?.code, "host_unreachable");
      assert.match(
        task.error.detail ?? "",
        new RegExp(`Host ${deaf[index]?.name} is not connected .*${deaf[index]?.name}\\.sock`),
      );
      assert.match(task.error.remedy ?? "", /libvirt/);
    }
    for (const { status, body } of await Promise.all(statistics)) {
      assert.deepEqual([status, body["code"]], [504, "timeout"]);
      assert.match(String(body["detail"]), /c1h010\.sock\) did not answer within 15 s/);
    }
    const bad = [...deaf, ...mute];
    await managed.until("they are shown as not answering", async () => {
      const shown = await managed.list("vm", "state=unknown");
      return (
        (await managed.count("host", "state=unreachable")) === bad.length && shown.length === bad.length * vmsPerHost
      );
    });
    for (const each of bad) {
      const [host] = await managed.list("host", `name=${each.name}`);
      assert.match(
        host?.connectionDetail ?? "",
        each === mute[0] ? /answers no question/ : /no connection within|no answer/,
      );
      const [vm] = await managed.list("vm", `host=${each.name}`);
      assert.equal(vm?.stateDetail, `its host ${each.name} can't be reached`);
      const { status, body } = await managed.server.admin("POST", `/vms/${vm?.id}/start`);
      assert.deepEqual([status, body["code"]], [502, "host_unreachable"]);
      assert.match(String(body["detail"]), new RegExp(`its host ${each.name} can't be reached. Nothing was changed`));
      assert.match(String(body["remedy"]), /inn host show/);
    }
    // And all others are measured on and on.
    const hostIds = (await managed.list("host", "state=connected")).map(({ id }) => id);
    assert.equal(hostIds.length, good.length);
    const ageMs = () => Date.now() - hungAtMs;
    await managed.until("all others are measured", async () =>
      hostIds.every((id) => managed.wiring.recent.latest(id, "cpuUsagePct", Date.now(), ageMs()) !== undefined),
    );
    // One that is removed by hand may have been moved to a host that can't be asked: kept until it can.
    const { domains } = (good[0] as FleetHost).host;
    const [, removed] = [...domains.all];
    assert.ok(removed);
    if (removed.isActive) destroy(domains, removed);
    undefine(domains, removed, 0);
    await managed.until("nobody knows where it is", async () => {
      const [vm] = await managed.list("vm", `name=${removed.name}`);
      return vm?.state === "unknown" && /not all other hosts can be asked now/.test(vm.stateDetail);
    });
    const more = await Promise.all(good.map((each) => managed.run("POST", `/vms/${firstOn(each)}/start`)));
    assert.deepEqual(counted(more.map(({ state }) => ({ type: state }))), { succeeded: good.length });
    managed.fleet.setFaults([]);
    await managed.until("all can be asked", async () => (await managed.count("host", "state=connected")) === hostCount);
    const [asked] = await managed.list("host", `name=${good[0]?.name}`);
    await managed.succeed("POST", `/hosts/${asked?.id}/refresh`);
    await managed.until("everything is as it is on the hosts", isTrue);
    const gone = (await eventsSince(since)).filter(({ type }) => type === "vm.removed");
    assert.deepEqual(
      gone.map(({ message }) => message),
      [`VM ${removed.name} is gone`],
    );
  });
});

function counted(things: readonly { readonly type: string }[]): Record<string, number> {
  const byType = Map.groupBy(things, ({ type }) => type);
  return Object.fromEntries([...byType].map(([type, each]) => [type, each.length]));
}

/** Starts the host's last VM, or cuts its power. */
async function change({ host }: FleetHost): Promise<void> {
  const { last } = firstAndLast(host);
  if (last.isActive) destroy(host.domains, last);
  else await start(host.domains, last, BOOTED);
}

function firstAndLast({ domains }: SimHost): { readonly first: SimDomain; readonly last: SimDomain } {
  const all = [...domains.all];
  const [first, last] = [all[0], all.at(-1)];
  assert.ok(first && last);
  return { first, last };
}

/** Starts the host's first VM, and cuts the power of its last. */
async function runFirst({ host }: FleetHost): Promise<void> {
  const { first, last } = firstAndLast(host);
  if (!first.isActive) await start(host.domains, first, BOOTED);
  if (last.isActive) destroy(host.domains, last);
}

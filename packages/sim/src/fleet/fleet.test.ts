// A fleet on virtual time: migrations take as long as the memory needs, and what is told to go wrong does.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import {
  ConnectionLostError,
  LibvirtError,
  VIR_DOMAIN_PAUSED,
  VIR_DOMAIN_RUNNING,
  VIR_MIGRATE_LIVE,
  VIR_MIGRATE_OFFLINE,
  VIR_MIGRATE_PEER2PEER,
  VIR_MIGRATE_PERSIST_DEST,
  VIR_MIGRATE_POSTCOPY,
  VIR_MIGRATE_UNDEFINE_SOURCE,
  connect,
} from "@innkeeper/libvirt";
import type { Connection, TypedParameterInput } from "@innkeeper/libvirt";
import { readRule } from "#fault/rule.ts";
import { VirtualClock } from "#host/clock.ts";
import { suspend } from "#host/domain/lifecycle.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import { byCounts } from "./declaration.ts";
import { Fleet } from "./fleet.ts";

const SHARED = { clusters: 1, hosts: 3, vms: 4, seed: 1, storage: "shared" } as const;
const MOVE = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE;

class Bench implements AsyncDisposable {
  readonly clock = new VirtualClock();
  readonly fleet = new Fleet(byCounts(SHARED), this.clock);
  readonly #connections: Connection[] = [];

  async client(name: string): Promise<Connection> {
    const { daemon } = this.fleet.find(name);
    const connection = await connect("qemu:///system", { dial: () => daemon.dial(), keepalive: false });
    this.#connections.push(connection);
    return connection;
  }

  running(name: string): SimDomain {
    const found = [...this.fleet.find(name).host.domains.all].find(({ isActive }) => isActive);
    assert.ok(found);
    return found;
  }

  /** Lets time pass until the promise settles. */
  async until<T>(promise: Promise<T>, stepMs = 100): Promise<T> {
    const state = { isSettled: false };
    const settled = promise.finally(() => (state.isSettled = true));
    settled.catch(() => undefined);
    for (let step = 0; !state.isSettled && step < 10_000; step += 1) await this.clock.advance(stepMs);
    return await settled;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) await connection.close();
    await this.fleet[Symbol.asyncDispose]();
  }
}

function refused(code: string, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof LibvirtError, String(error));
    assert.equal(error.codeName, code, error.message);
    assert.match(error.message, words);
    return true;
  };
}

function move(
  { remote }: Connection,
  domain: SimDomain,
  to: string,
  flags = MOVE,
  params: TypedParameterInput = {},
): Promise<unknown> {
  const dconnuri = `qemu+tcp://${to}/system`;
  return remote.domainMigratePerform3Params({ dom: domain.ref, dconnuri, params, cookieIn: new Uint8Array(), flags });
}

describe("fleet", { timeout: 60_000 }, () => {
  test("is as it was declared, and the same again from the same seed", async () => {
    await using bench = new Bench();
    await using again = new Bench();
    assert.equal(bench.fleet.hosts.length, 3);
    const uuids = ({ fleet }: Bench): string[] =>
      fleet.hosts.flatMap(({ host }) => [...host.domains.all].map(({ uuid }) => uuid));
    assert.equal(new Set(uuids(bench)).size, 12);
    assert.deepEqual(uuids(bench), uuids(again));
  });

  test("a VM's text from its template is what libvirt would make of it", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const quick = domain.liveText();
    const definition = domain.config.text();
    domain.editConfig(() => undefined);
    assert.equal(domain.config.text(), definition);
    domain.editLive(() => undefined);
    assert.equal(domain.liveText(), quick);
  });

  test("a live migration takes the time that its memory needs, and tells of it in libvirt's order", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const source = await bench.client("c1h1");
    const target = await bench.client("c1h2");
    const told: string[] = [];
    for (const [where, connection] of [
      ["source", source],
      ["target", target],
    ] as const) {
      const events = connection.events.domain("lifecycle");
      await events.ready;
      void (async () => {
        for await (const { event, detail } of events) told.push(`${where} ${event}.${detail}`);
      })().catch(() => undefined);
    }
    const cpuBefore = domain.vcpuSeconds();
    const startMs = bench.clock.nowMs();
    const moving = move(source, domain, "c1h2", MOVE, { bandwidth: 100n });
    await bench.clock.advance(2_000);
    const { params } = await source.remote.domainGetJobStats({ dom: domain.ref });
    assert.ok(Number(params["memory_processed"]) > 150_000_000, JSON.stringify(Number(params["memory_processed"])));
    await bench.until(moving);
    const tookS = (bench.clock.nowMs() - startMs) / 1000;
    const memoryMiB = domain.facts.memoryKiB / 1024;
    assert.ok(tookS > (memoryMiB * 0.3) / 100 && tookS < memoryMiB / 50, `${tookS} s for ${memoryMiB} MiB`);
    const moved = bench.fleet.find("c1h2").host.domains.byUuid(domain.uuid);
    assert.equal(moved.state, VIR_DOMAIN_RUNNING);
    assert.ok(moved.isPersistent && moved.vcpuSeconds() >= cpuBefore);
    assert.equal(bench.fleet.find("c1h1").host.domains.find(domain.uuid), undefined);
    // Started (migrated), defined (added), resumed (migrated); suspended (migrated), stopped (migrated), undefined.
    const toldBy = (where: string): string[] => told.filter((each) => each.startsWith(where));
    assert.deepEqual(toldBy("target"), ["target 2.1", "target 0.0", "target 4.1"]);
    assert.deepEqual(toldBy("source"), ["source 3.1", "source 5.3", "source 1.0"]);
  });

  test("post-copy hands the guest over at once", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const source = await bench.client("c1h1");
    const moving = move(source, domain, "c1h3", MOVE | VIR_MIGRATE_POSTCOPY, { bandwidth: 10n });
    await bench.clock.advance(1_000);
    await source.remote.domainMigrateStartPostCopy({ dom: domain.ref });
    await bench.clock.advance(100);
    assert.equal(bench.fleet.find("c1h3").host.domains.byUuid(domain.uuid).state, VIR_DOMAIN_RUNNING);
    await assert.rejects(
      source.remote.domainAbortJob({ dom: domain.ref }),
      refused("VIR_ERR_OPERATION_FAILED", /post-copy/),
    );
    await bench.until(moving);
  });

  test("a migration that is cancelled, or whose target dies, leaves the guest where it was", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const source = await bench.client("c1h1");
    const first = move(source, domain, "c1h2", MOVE, { bandwidth: 10n });
    first.catch(() => undefined);
    await bench.clock.advance(1_000);
    await source.remote.domainAbortJob({ dom: domain.ref });
    await assert.rejects(first, refused("VIR_ERR_OPERATION_ABORTED", /canceled by client/));
    const second = move(source, domain, "c1h2", MOVE, { bandwidth: 10n });
    second.catch(() => undefined);
    await bench.clock.advance(1_000);
    bench.fleet.powerOff(bench.fleet.find("c1h2"));
    await assert.rejects(second, refused("VIR_ERR_OPERATION_FAILED", /destination was lost/));
    assert.equal(domain.state, VIR_DOMAIN_RUNNING);
    await assert.rejects(move(source, domain, "c1h2"), refused("VIR_ERR_SYSTEM_ERROR", /No route to host/));
    assert.equal(bench.fleet.find("c1h2").host.domains.find(domain.uuid), undefined);
  });

  test("a definition moves without its guest", async () => {
    await using bench = new Bench();
    const { host } = bench.fleet.find("c1h1");
    const domain = bench.running("c1h1");
    const source = await bench.client("c1h1");
    await source.remote.domainDestroy({ dom: domain.ref });
    const flags = VIR_MIGRATE_OFFLINE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE;
    await move(source, domain, "c1h2", flags);
    assert.equal(host.domains.find(domain.uuid), undefined);
    assert.equal(bench.fleet.find("c1h2").host.domains.byUuid(domain.uuid).isActive, false);
  });

  test("partition stops migrations and nothing else", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const source = await bench.client("c1h1");
    bench.fleet.wire.cut("c1h1", "c1h2");
    await assert.rejects(move(source, domain, "c1h2"), refused("VIR_ERR_SYSTEM_ERROR", /No route to host/));
    bench.fleet.wire.heal("c1h1");
    await bench.until(move(source, domain, "c1h2"));
  });

  test("power off ends connections and guests; power on brings back those that start by themselves", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const connection = await bench.client("c1h1");
    const host = bench.fleet.find("c1h1");
    bench.fleet.powerOff(host);
    const { error } = await connection.closed;
    assert.ok(error instanceof ConnectionLostError);
    await assert.rejects(bench.client("c1h1"));
    assert.equal(domain.isActive, false);
    await bench.until(bench.fleet.powerOn(host));
    assert.equal(domain.isActive, true);
    assert.deepEqual(
      host.host.pools.all.map(({ isActive }) => isActive),
      [true, true],
    );
  });
});

describe("isolation", { timeout: 60_000 }, () => {
  test("guests run on and nobody hears of it; when the cable is back, everybody does", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const connection = await bench.client("c1h1");
    const host = bench.fleet.find("c1h1");
    const events = connection.events.domain("lifecycle");
    await events.ready;
    const first = events[Symbol.asyncIterator]().next();
    const heard = { isIt: false };
    void first.then(() => (heard.isIt = true));
    bench.fleet.isolate(host, true);
    const asked = connection.remote.domainGetState({ dom: domain.ref });
    host.host.domains.context.clock.schedule(1_000, () => suspend(host.host.domains, domain));
    await bench.clock.advance(60_000);
    assert.equal(domain.isPaused, true);
    assert.equal(heard.isIt, false);
    bench.fleet.isolate(host, false);
    assert.equal((await asked).state, VIR_DOMAIN_PAUSED);
    assert.equal((await first).done, false);
  });
});

describe("fault rules", { timeout: 60_000 }, () => {
  test("a procedure fails with the code that is asked for, as often as is asked for, the same at every run", async () => {
    const outcomes: string[][] = [];
    for (let run = 0; run < 2; run += 1) {
      await using bench = new Bench();
      const rule = { kind: "fail", host: "c1*", procedure: "connectGetHost*", probability: 0.3, code: "VIR_ERR_RPC" };
      bench.fleet.setFaults([readRule(rule)]);
      const { remote } = await bench.client("c1h1");
      const seen: string[] = [];
      for (let call = 0; call < 200; call += 1)
        seen.push(
          await remote.connectGetHostname().then(
            () => "ok",
            (error: LibvirtError) => error.codeName,
          ),
        );
      outcomes.push(seen);
      await remote.connectGetType();
    }
    assert.deepEqual(outcomes[0], outcomes[1]);
    const failures = outcomes[0]?.filter((each) => each === "VIR_ERR_RPC").length ?? 0;
    assert.ok(failures > 35 && failures < 85, `${failures} of 200`);
  });

  test("slow answers late, hang never, and both go away with the rule", async () => {
    await using bench = new Bench();
    const { remote } = await bench.client("c1h1");
    bench.fleet.setFaults([readRule({ kind: "slow", procedure: "connectGetType", delayMs: 30_000 })]);
    const startMs = bench.clock.nowMs();
    await bench.until(remote.connectGetType(), 1_000);
    assert.ok(bench.clock.nowMs() - startMs >= 30_000);
    bench.fleet.setFaults([readRule({ kind: "hang" })]);
    const hanging = remote.connectGetHostname();
    await bench.clock.advance(600_000);
    bench.fleet.setFaults([]);
    assert.deepEqual(await hanging, { hostname: "c1h1" });
  });

  test("cut breaks the connection in the middle of what is sent", async () => {
    await using bench = new Bench();
    bench.fleet.setFaults([readRule({ kind: "cut", host: "c1h2", afterBytes: 2_000 })]);
    const { remote } = await bench.client("c1h2");
    await assert.rejects(remote.connectGetCapabilities(), ConnectionLostError);
  });

  test("what is not a rule is refused in the user's words", () => {
    assert.throws(() => readRule({ kind: "explode" }), /kind must be one of refuse, hang, slow, cut, fail/);
    assert.throws(() => readRule({ kind: "fail", code: "NOPE" }), /VIR_ERR_OPERATION_FAILED, not NOPE/);
    assert.throws(() => readRule({ kind: "fail", chance: 1 }), /there is no chance/);
  });
});

// Migrations between the hosts of a fleet on virtual time: they take as long as the memory needs, end where they should,
// and leave nothing when they break.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import {
  VIR_DOMAIN_JOB_STATS_COMPLETED,
  VIR_DOMAIN_PAUSED,
  VIR_DOMAIN_PAUSED_MIGRATION,
  VIR_DOMAIN_RUNNING,
  VIR_MIGRATE_LIVE,
  VIR_MIGRATE_OFFLINE,
  VIR_MIGRATE_PEER2PEER,
  VIR_MIGRATE_PERSIST_DEST,
  VIR_MIGRATE_POSTCOPY,
  VIR_MIGRATE_UNDEFINE_SOURCE,
} from "@innkeeper/libvirt";
import type { Connection, TypedParameterInput } from "@innkeeper/libvirt";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import { Bench, MOVE, move, refused } from "#testing/fleet-bench.ts";

const NONE = new Uint8Array();
const LED = VIR_MIGRATE_LIVE | VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE;

/** The first two of the five phases that a client leads. */
async function prepared(source: Connection, target: Connection, { ref }: SimDomain, flags = LED): Promise<Prepared> {
  const begun = await source.remote.domainMigrateBegin3Params({ dom: ref, params: {}, flags });
  const params = { destination_xml: begun.xml, destination_name: ref.name };
  const { uriOut } = await target.remote.domainMigratePrepare3Params({ params, cookieIn: begun.cookieOut, flags });
  return { name: ref.name, uri: uriOut ?? "" };
}

interface Prepared {
  readonly name: string;
  readonly uri: string;
}

function perform({ remote }: Connection, { ref }: SimDomain, { uri }: Prepared, more: TypedParameterInput = {}) {
  const params = { migrate_uri: uri, ...more };
  return remote.domainMigratePerform3Params({ dom: ref, dconnuri: null, params, cookieIn: NONE, flags: LED });
}

function finish({ remote }: Connection, { name }: Prepared, cancelled = 0) {
  const params = { destination_name: name };
  return remote.domainMigrateFinish3Params({ params, cookieIn: NONE, flags: LED, cancelled });
}

function confirm({ remote }: Connection, { ref }: SimDomain, cancelled = 0) {
  return remote.domainMigrateConfirm3Params({ dom: ref, params: {}, cookieIn: NONE, flags: LED, cancelled });
}

describe("migration", { timeout: 60_000 }, () => {
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
    // Started (migrated), defined (added), resumed (migrated); suspended (migrated), stopped (migrated).
    const toldBy = (where: string): string[] => told.filter((each) => each.startsWith(where));
    assert.deepEqual(toldBy("target"), ["target 2.1", "target 0.0", "target 4.1"]);
    assert.deepEqual(toldBy("source"), ["source 3.1", "source 5.3"]);
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

  test("the guest stands still for as long as is told, on the host that it leaves and on the one that it reaches", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const [source, target] = [await bench.client("c1h1"), await bench.client("c1h2")];
    const told = new Map<number, number>();
    for (const { events } of [source, target]) {
      const lifecycle = events.domain("lifecycle");
      await lifecycle.ready;
      void (async () => {
        for await (const { event } of lifecycle) told.set(event, bench.clock.nowMs());
      })().catch(() => undefined);
    }
    const keep = MOVE & ~VIR_MIGRATE_UNDEFINE_SOURCE;
    await bench.until(move(source, domain, "c1h2", keep, { bandwidth: 200n }), 5);
    const flags = VIR_DOMAIN_JOB_STATS_COMPLETED;
    const { params } = await source.remote.domainGetJobStats({ dom: domain.ref, flags });
    // Suspended there, resumed here.
    const pauseMs = (told.get(4) ?? 0) - (told.get(3) ?? 0);
    assert.ok(Math.abs(Number(params["downtime"]) - pauseMs) <= 5, `${Number(params["downtime"])} told, ${pauseMs} ms`);
    assert.ok(pauseMs <= 320);
  });

  test("a limit that is set is kept: told, and held to", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const source = await bench.client("c1h1");
    const { remote } = source;
    const dom = domain.ref;
    assert.deepEqual(await remote.domainMigrateGetMaxSpeed({ dom }), { bandwidth: 8_796_093_022_207n });
    await remote.domainMigrateSetMaxSpeed({ dom, bandwidth: 10n });
    assert.deepEqual(await remote.domainMigrateGetMaxSpeed({ dom }), { bandwidth: 10n });
    const moving = move(source, domain, "c1h2");
    await bench.clock.advance(10_000);
    const { memProcessed } = await remote.domainGetJobInfo({ dom });
    assert.ok(memProcessed > 100_000_000n && memProcessed < 110_000_000n, `${memProcessed}`);
    await remote.domainMigrateSetMaxSpeed({ dom, bandwidth: 1_000n });
    await bench.clock.advance(1_000);
    const later = await remote.domainGetJobInfo({ dom });
    assert.ok(later.memProcessed > 1_000_000_000n || later.memRemaining < memProcessed, `${later.memProcessed}`);
    await bench.until(moving);
  });

  test("a way that is in use breaks, however many were used since", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const source = await bench.client("c1h1");
    const moving = move(source, domain, "c1h2", MOVE, { bandwidth: 10n });
    moving.catch(() => undefined);
    await bench.clock.advance(1_000);
    const peers = bench.fleet.wire.peersOf("c1h3", 1);
    for (let each = 0; each < 10_001; each += 1) peers.daemon("qemu+tcp://c1h2/system");
    bench.fleet.wire.cut("c1h1", "c1h2");
    await assert.rejects(bench.until(moving), refused("VIR_ERR_OPERATION_FAILED", /destination was lost/));
  });

  test("a guest that ends, and is started again, while its memory is sent does not move", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const source = await bench.client("c1h1");
    const moving = move(source, domain, "c1h2", MOVE, { bandwidth: 10n });
    moving.catch(() => undefined);
    await source.remote.domainShutdown({ dom: domain.ref });
    await bench.clock.advance(5_000);
    assert.equal(domain.isActive, false);
    await bench.until(source.remote.domainCreate({ dom: domain.ref }));
    await assert.rejects(bench.until(moving), refused("VIR_ERR_OPERATION_INVALID", /domain is not running/));
    assert.equal(domain.state, VIR_DOMAIN_RUNNING);
    assert.equal(bench.fleet.find("c1h2").host.domains.find(domain.uuid), undefined);
  });
});

describe("migration that a client leads", { timeout: 60_000 }, () => {
  test("goes through its five phases, and the guest runs on the target alone", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const [source, target] = [await bench.client("c1h1"), await bench.client("c1h2")];
    const phase = await prepared(source, target, domain);
    assert.match(phase.uri, /^tcp:c1h2:49152$/);
    const there = bench.fleet.find("c1h2").host.domains.byUuid(domain.uuid);
    assert.deepEqual([there.state, there.reason], [VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION]);
    await assert.rejects(finish(target, phase), refused("VIR_ERR_OPERATION_FAILED", /memory has not arrived/));
    await bench.until(perform(source, domain, phase));
    assert.deepEqual([domain.state, domain.reason], [VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION]);
    const { dom } = await finish(target, phase);
    assert.deepEqual([dom.uuid, there.state], [domain.uuid, VIR_DOMAIN_RUNNING]);
    await confirm(source, domain);
    assert.equal(bench.fleet.find("c1h1").host.domains.find(domain.uuid), undefined);
    assert.equal(there.isPersistent, true);
    await target.close();
    await bench.clock.advance(1_000);
    assert.equal(there.state, VIR_DOMAIN_RUNNING);
  });

  test("cancelled at its end it goes on where it was", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const [source, target] = [await bench.client("c1h1"), await bench.client("c1h2")];
    const phase = await prepared(source, target, domain);
    await bench.until(perform(source, domain, phase));
    await assert.rejects(finish(target, phase, 1), refused("VIR_ERR_MIGRATE_FINISH_OK", /successfully aborted/));
    await confirm(source, domain, 1);
    assert.equal(domain.state, VIR_DOMAIN_RUNNING);
    assert.equal(bench.fleet.find("c1h2").host.domains.find(domain.uuid), undefined);
  });

  test("the guest that waits on the target goes with its client's connection, and gives its port back", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const { host, daemon } = bench.fleet.find("c1h2");
    const source = await bench.client("c1h1");
    for (let round = 0; round < 65; round += 1) {
      const target = await bench.client("c1h2");
      const { uri } = await prepared(source, target, domain);
      assert.match(uri, /:49152$/);
      for (const session of daemon.sessions) session.close();
      assert.equal(host.domains.find(domain.uuid), undefined);
    }
  });

  test("it ends with the connection to the source while the memory is sent", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const [source, target] = [await bench.client("c1h1"), await bench.client("c1h2")];
    const phase = await prepared(source, target, domain);
    const sending = perform(source, domain, phase, { bandwidth: 10n });
    sending.catch(() => undefined);
    await bench.clock.advance(1_000);
    for (const session of bench.fleet.find("c1h1").daemon.sessions) session.close();
    await assert.rejects(sending);
    await bench.clock.advance(1_000);
    assert.equal(domain.job, null);
    assert.equal(domain.state, VIR_DOMAIN_RUNNING);
  });

  test("what waits on a host that loses its power, or is destroyed there, is not waited for", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const source = await bench.client("c1h1");
    const phase = await prepared(source, await bench.client("c1h2"), domain);
    bench.fleet.powerOff(bench.fleet.find("c1h2"));
    await bench.until(bench.fleet.powerOn(bench.fleet.find("c1h2")));
    const target = await bench.client("c1h2");
    await assert.rejects(finish(target, phase), refused("VIR_ERR_NO_DOMAIN", /no domain with matching name/));
    const again = await prepared(source, target, domain);
    assert.equal(again.uri, phase.uri);
    await target.remote.domainDestroy({ dom: domain.ref });
    await assert.rejects(bench.until(perform(source, domain, again)), refused("VIR_ERR_NO_DOMAIN", /being migrated/));
    assert.equal(domain.state, VIR_DOMAIN_RUNNING);
  });
});

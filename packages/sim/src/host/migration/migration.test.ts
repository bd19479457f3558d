// Migrations between the hosts of a fleet on virtual time: they take as long as the memory needs, end where they should,
// and leave nothing when they break.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import {
  VIR_DOMAIN_RUNNING,
  VIR_MIGRATE_OFFLINE,
  VIR_MIGRATE_PEER2PEER,
  VIR_MIGRATE_PERSIST_DEST,
  VIR_MIGRATE_POSTCOPY,
  VIR_MIGRATE_UNDEFINE_SOURCE,
} from "@innkeeper/libvirt";
import { Bench, MOVE, move, refused } from "#testing/fleet-bench.ts";

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
});

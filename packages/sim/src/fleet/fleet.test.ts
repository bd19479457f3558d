// A fleet as it is declared, and its hosts' power.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { ConnectionLostError, VIR_DOMAIN_PAUSED } from "@innkeeper/libvirt";
import { Bench, refused } from "#testing/fleet-bench.ts";

function uuids({ fleet }: Bench): string[] {
  return fleet.hosts.flatMap(({ host }) => [...host.domains.all].map(({ uuid }) => uuid));
}

describe("fleet", { timeout: 60_000 }, () => {
  test("is as it was declared, and the same again from the same seed", async () => {
    await using bench = new Bench();
    await using again = new Bench();
    assert.equal(bench.fleet.hosts.length, 3);
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

  test("what was starting when the power went does not run, and its caller is told nothing good", async () => {
    await using bench = new Bench();
    const [domain, other] = bench.fleet.find("c1h1").host.domains.all;
    assert.ok(domain && other);
    const host = bench.fleet.find("c1h1");
    const { remote } = await bench.client("c1h1");
    for (const { ref, isActive } of [domain, other]) if (isActive) await remote.domainDestroy({ dom: ref });
    domain.autostart = false;
    const starting = remote.domainCreate({ dom: domain.ref });
    starting.catch(() => undefined);
    await bench.clock.advance(100);
    bench.fleet.powerOff(host);
    const on = bench.fleet.powerOn(host);
    await bench.clock.advance(60_000);
    await on;
    await assert.rejects(starting, ConnectionLostError);
    assert.equal(domain.isActive, false);
  });

  test("a guest that is destroyed or undefined while it starts ends so, as with libvirt", async () => {
    await using bench = new Bench();
    const { host } = bench.fleet.find("c1h1");
    const { remote } = await bench.client("c1h1");
    const domain = bench.running("c1h1");
    await remote.domainDestroy({ dom: domain.ref });
    const first = remote.domainCreate({ dom: domain.ref });
    await bench.clock.advance(100);
    assert.equal(domain.state, VIR_DOMAIN_PAUSED);
    await assert.rejects(
      remote.domainCreate({ dom: domain.ref }),
      refused("VIR_ERR_OPERATION_INVALID", /already running/),
    );
    await remote.domainDestroy({ dom: domain.ref });
    await assert.rejects(bench.until(first), refused("VIR_ERR_INTERNAL_ERROR", /process exited while connecting/));
    assert.equal(domain.isActive, false);
    const second = remote.domainCreate({ dom: domain.ref });
    await bench.clock.advance(100);
    await remote.domainUndefine({ dom: domain.ref });
    await bench.until(second);
    assert.equal(host.domains.byUuid(domain.uuid).isPersistent, false);
    await remote.domainDestroy({ dom: domain.ref });
    assert.equal(host.domains.find(domain.uuid), undefined);
  });

  test("what was to happen on a host happens no more when its power has been cut", async () => {
    await using bench = new Bench();
    const host = bench.fleet.find("c1h1");
    const domain = bench.running("c1h1");
    const { remote } = await bench.client("c1h1");
    await remote.domainShutdown({ dom: domain.ref });
    const { pool } = await remote.storagePoolLookupByName({ name: "shared" });
    const [target] = domain.facts.disks;
    const name = target?.source?.split("/").at(-1) ?? "";
    const { vol } = await remote.storageVolLookupByName({ pool, name });
    const xml = "<volume><name>copy</name><capacity>1</capacity><target><format type='qcow2'/></target></volume>";
    const copying = remote.storageVolCreateXmlFrom({ pool, xml, clonevol: vol, flags: 0 });
    copying.catch(() => undefined);
    await bench.clock.advance(500);
    bench.fleet.powerOff(host);
    await bench.until(bench.fleet.powerOn(host));
    const { space } = host.host.pools.byName("shared");
    await bench.clock.advance(3_600_000);
    await assert.rejects(copying, ConnectionLostError);
    assert.equal(domain.isActive, true);
    assert.deepEqual(host.host.pools.byName("shared").space, space);
  });
});

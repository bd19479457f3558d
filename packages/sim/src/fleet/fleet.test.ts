// A fleet as it is declared, and its hosts' power.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { ConnectionLostError } from "@innkeeper/libvirt";
import { Bench } from "#testing/fleet-bench.ts";

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
});

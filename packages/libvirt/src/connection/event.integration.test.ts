import { strict as assert } from "node:assert";
import { after, before, describe, test } from "node:test";
import {
  VIR_DOMAIN_EVENT_RESUMED,
  VIR_DOMAIN_EVENT_STARTED,
  VIR_DOMAIN_EVENT_STOPPED,
  VIR_DOMAIN_EVENT_SUSPENDED,
  VIR_DOMAIN_EVENT_DEFINED,
  VIR_DOMAIN_EVENT_UNDEFINED,
} from "#generated/domain-constant.ts";
import { domainEvents } from "#generated/event.ts";
import { VIR_NETWORK_EVENT_STARTED, VIR_NETWORK_EVENT_STOPPED } from "#generated/network-constant.ts";
import { ConnectionLostError } from "#rpc/error.ts";
import { daemonUnavailable, startDaemon } from "#testing/daemon.ts";
import { createPool, startGuest } from "#testing/fixture.ts";
import { connect } from "./connect.ts";
import { EventOverflowError } from "./event-subscription.ts";
import type { DomainEvents } from "#generated/event.ts";
import type { Daemon } from "#testing/daemon.ts";
import type { Connection } from "./connection.ts";

describe("events of a real libvirtd", { skip: daemonUnavailable() ?? false, timeout: 120_000 }, () => {
  let daemon: Daemon;
  let connection: Connection;

  before(async () => {
    daemon = await startDaemon();
    connection = await connect(`test:///default?socket=${daemon.socket}`);
  });
  after(async () => {
    await connection?.close();
    await daemon?.stop();
  });

  test("domain lifecycle, in order, filtered by domain, unsubscribed when the loop is left", async () => {
    const { dom: first } = await connection.remote.domainLookupByName({ name: "test" });
    const { dom: second } = await connection.remote.domainDefineXml({
      xml: "<domain type='test'><name>second</name><memory>8192</memory><os><type>hvm</type></os></domain>",
    });
    const all = connection.events.domain("lifecycle");
    const one = connection.events.domain("lifecycle", { domain: first });
    await Promise.all([all.ready, one.ready]);
    await connection.remote.domainCreate({ dom: second });
    await connection.remote.domainSuspend({ dom: first });
    await connection.remote.domainResume({ dom: first });
    const seen: [string, number][] = [];
    for await (const { dom, event } of all) {
      seen.push([dom.name, event]);
      if (event === VIR_DOMAIN_EVENT_RESUMED && dom.name === "test") break;
    }
    assert.deepEqual(seen.slice(-2), [
      ["test", VIR_DOMAIN_EVENT_SUSPENDED],
      ["test", VIR_DOMAIN_EVENT_RESUMED],
    ]);
    assert.equal(seen[0]?.[0], "second");
    assert.deepEqual(
      [(await one.next()).value?.dom.name, (await one.next()).value?.event],
      ["test", VIR_DOMAIN_EVENT_RESUMED],
    );
    await one.return();
    assert.deepEqual(await one.next(), { value: undefined, done: true });
    assert.deepEqual(await all.next(), { value: undefined, done: true });
    await connection.remote.domainDestroy({ dom: second });
    await connection.remote.domainUndefine({ dom: second });
  });

  test("every kind of domain event can be subscribed to", async () => {
    const names = Object.keys(domainEvents) as (keyof DomainEvents)[];
    const subscriptions = names.map((name) => connection.events.domain(name));
    await Promise.all(subscriptions.map((each) => each.ready));
    await Promise.all(subscriptions.map((each) => each.return()));
    assert.equal(names.length, 27);
  });

  test("several kinds as one subscription, without those that the driver lacks", async () => {
    const { dom } = await connection.remote.domainLookupByName({ name: "test" });
    const events = connection.events.domains(["lifecycle", "metadataChange", "tunable"]);
    await events.ready;
    await connection.remote.domainSuspend({ dom });
    await connection.remote.domainResume({ dom });
    const names: string[] = [];
    for await (const { name, event } of events) {
      names.push(name);
      assert.equal(event.dom.name, "test");
      if (name === "lifecycle" && event.event === VIR_DOMAIN_EVENT_RESUMED) break;
    }
    assert.deepEqual(names, ["lifecycle", "lifecycle"]);
    const after = connection.events.domains(["lifecycle"]);
    await after.ready;
    await after.return();
  });

  test("networks, pools, node devices and secrets", async () => {
    const network = connection.events.network("lifecycle");
    const pool = connection.events.storagePool("lifecycle");
    const refresh = connection.events.storagePool("refresh");
    const device = connection.events.nodeDevice("lifecycle");
    await Promise.all([network.ready, pool.ready, refresh.ready, device.ready]);
    const { net } = await connection.remote.networkLookupByName({ name: "default" });
    await connection.remote.networkDestroy({ net });
    await connection.remote.networkCreate({ net });
    assert.equal((await network.next()).value?.event, VIR_NETWORK_EVENT_STOPPED);
    const started = (await network.next()).value;
    assert.deepEqual([started?.event, started?.net.name], [VIR_NETWORK_EVENT_STARTED, "default"]);
    const { pool: created } = await connection.remote.storagePoolCreateXml({
      xml: "<pool type='dir'><name>p</name><target><path>/p</path></target></pool>",
    });
    assert.equal((await pool.next()).value?.pool.name, "p");
    await connection.remote.storagePoolRefresh({ pool: created });
    assert.equal((await refresh.next()).value?.pool.uuid, created.uuid);
    await Promise.all([network.return(), pool.return(), refresh.return(), device.return()]);
  });

  test("qemu: secrets, pools, a guest's life and its monitor's events", async () => {
    await using qemu = await connect(`qemu:///system?socket=${daemon.socket}`);
    await createPool(qemu, daemon, "events");
    const secrets = qemu.events.secret("lifecycle");
    const values = qemu.events.secret("valueChanged");
    const lifecycle = qemu.events.domain("lifecycle");
    const monitor = qemu.events.qemuMonitor({ event: "STOP" });
    await Promise.all([secrets.ready, values.ready, lifecycle.ready, monitor.ready]);
    const { secret } = await qemu.remote.secretDefineXml({
      xml: "<secret ephemeral='yes'><usage type='volume'><volume>/v</volume></usage></secret>",
    });
    await qemu.remote.secretSetValue({ secret, value: Buffer.from("word") });
    assert.equal((await secrets.next()).value?.secret.uuid, secret.uuid);
    assert.equal((await values.next()).value?.secret.usageID, "/v");
    const dom = await startGuest(qemu, "eventful");
    await qemu.remote.domainSuspend({ dom });
    const stop = (await monitor.next()).value;
    assert.deepEqual([stop?.event, stop?.dom.name], ["STOP", "eventful"]);
    await qemu.remote.domainDestroy({ dom });
    const seen: number[] = [];
    for await (const { event } of lifecycle) {
      seen.push(event);
      if (event === VIR_DOMAIN_EVENT_STOPPED) break;
    }
    assert.ok(seen.includes(VIR_DOMAIN_EVENT_STARTED) && seen.includes(VIR_DOMAIN_EVENT_SUSPENDED), String(seen));
    assert.equal(seen.includes(VIR_DOMAIN_EVENT_DEFINED) || seen.includes(VIR_DOMAIN_EVENT_UNDEFINED), false);
  });

  test("a signal ends the loop, a slow consumer is told", async () => {
    const { dom } = await connection.remote.domainLookupByName({ name: "test" });
    const controller = new AbortController();
    const ended = connection.events.domain("lifecycle", { signal: controller.signal });
    await ended.ready;
    const waiting = ended.next();
    controller.abort();
    assert.deepEqual(await waiting, { value: undefined, done: true });
    const slow = connection.events.domain("lifecycle", { queueLimit: 1 });
    await slow.ready;
    await connection.remote.domainSuspend({ dom });
    await connection.remote.domainResume({ dom });
    await connection.remote.connectGetLibVersion();
    assert.equal((await slow.next()).value?.event, VIR_DOMAIN_EVENT_SUSPENDED);
    await assert.rejects(slow.next(), EventOverflowError);
  });

  test("a killed daemon ends calls and loops within a moment", async () => {
    const own = await startDaemon();
    try {
      const lost = await connect(`test:///default?socket=${own.socket}`);
      const events = lost.events.domain("lifecycle");
      await events.ready;
      const { dom } = await lost.remote.domainLookupByName({ name: "test" });
      process.kill(own.pid(), "SIGSTOP");
      const calls = [1, 2, 3, 4, 5, 6, 7].map(() => lost.remote.domainGetXmlDesc({ dom }));
      const outcome = Promise.allSettled([...calls, events.next()]);
      process.kill(own.pid(), "SIGKILL");
      const results = await outcome;
      assert.equal(results.length, 8);
      for (const each of results) assert.ok(each.status === "rejected" && each.reason instanceof ConnectionLostError);
      assert.ok((await lost.closed).error instanceof ConnectionLostError);
    } finally {
      await own.stop();
    }
  });
});

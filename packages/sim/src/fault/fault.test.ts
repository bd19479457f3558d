// What is told to go wrong does, where and as often as it is told, and is over when it is taken back.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { ConnectionLostError, type LibvirtError, VIR_DOMAIN_PAUSED, VIR_DOMAIN_RUNNING } from "@innkeeper/libvirt";
import { COMMANDS } from "#fleet/control.ts";
import { suspend } from "#host/domain/lifecycle.ts";
import { Bench, refused } from "#testing/fleet-bench.ts";
import { readRule } from "./rule.ts";

/** Whether it was answered by the time that everything that can happen has. */
async function isAnswered(bench: Bench, call: Promise<unknown>): Promise<boolean> {
  const state = { isAnswered: false };
  void call.then(() => (state.isAnswered = true)).catch(() => undefined);
  for (let turn = 0; turn < 20; turn += 1) await bench.clock.advance(0);
  return state.isAnswered;
}

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

  test("rules come and go, and the host stays cut off; the cable is back, and a rule that holds still does", async () => {
    await using bench = new Bench();
    const { remote } = await bench.client("c1h1");
    const host = bench.fleet.find("c1h1");
    bench.fleet.isolate(host, true);
    const asked = remote.connectGetHostname();
    bench.fleet.setFaults([readRule({ kind: "slow", host: "c1h2" })]);
    assert.equal(await isAnswered(bench, asked), false);
    bench.fleet.setFaults([]);
    assert.equal(await isAnswered(bench, asked), false);
    bench.fleet.setFaults([readRule({ kind: "hang" })]);
    bench.fleet.isolate(host, false);
    assert.equal(await isAnswered(bench, asked), false);
    bench.fleet.setFaults([]);
    assert.deepEqual(await asked, { hostname: "c1h1" });
  });
});

describe("split brain", { timeout: 60_000 }, () => {
  test("a guest of a host that is cut off is started elsewhere, and runs twice when the cable is back", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const { name, uuid } = domain;
    const lost = bench.fleet.find("c1h1");
    const xml = domain.config.text();
    const first = await bench.client("c1h1");
    const { remote } = await bench.client("c1h2");
    bench.fleet.isolate(lost, true);
    const stopping = first.remote.domainDestroy({ dom: domain.ref });
    assert.equal(await isAnswered(bench, stopping), false);
    const { dom } = await remote.domainDefineXml({ xml });
    await bench.until(remote.domainCreate({ dom }));
    const twins = [domain, bench.fleet.find("c1h2").host.domains.byUuid(uuid)];
    assert.deepEqual(
      twins.map((each) => [each.name, each.state]),
      [
        [name, VIR_DOMAIN_RUNNING],
        [name, VIR_DOMAIN_RUNNING],
      ],
    );
    // What each does to the disk that they share, only they know: no host stops the other's guest.
    bench.fleet.isolate(lost, false);
    await stopping;
    assert.deepEqual(
      twins.map(({ isActive }) => isActive),
      [false, true],
    );
  });
});

function volume(name: string): string {
  return `<volume><name>${name}</name><capacity>1048576</capacity><allocation>1048576</allocation></volume>`;
}

describe("disk full", { timeout: 60_000 }, () => {
  test("what needs room fails with libvirt's words until there is some; what is there stays", async () => {
    await using bench = new Bench();
    const command = (name: string, ...args: string[]) => COMMANDS[name]?.run(bench.fleet, args);
    const { remote } = await bench.client("c1h1");
    const { pool } = await remote.storagePoolLookupByName({ name: "default" });
    await remote.storageVolCreateXml({ pool, xml: volume("before"), flags: 0 });
    assert.equal(await command("disk-full", "c1h1"), "/var/lib/libvirt/images of c1h1 is full");
    await assert.rejects(
      remote.storageVolCreateXml({ pool, xml: volume("full"), flags: 0 }),
      refused("VIR_ERR_SYSTEM_ERROR", /No space left on device/),
    );
    await remote.storagePoolRefresh({ pool, flags: 0 });
    const { names } = await remote.storagePoolListVolumes({ pool, maxnames: 9 });
    assert.deepEqual(names, ["before"]);
    assert.equal((await remote.storagePoolGetInfo({ pool })).available, 0n);
    const elsewhere = await bench.client("c1h2");
    const other = await elsewhere.remote.storagePoolLookupByName({ name: "default" });
    await elsewhere.remote.storageVolCreateXml({ pool: other.pool, xml: volume("elsewhere"), flags: 0 });
    await command("disk-free", "c1h1");
    await remote.storageVolCreateXml({ pool, xml: volume("after"), flags: 0 });
  });

  test("the export that a cluster shares is full for all its hosts", async () => {
    await using bench = new Bench();
    await COMMANDS["disk-full"]?.run(bench.fleet, ["c1h1", "/srv/shared"]);
    const { remote } = await bench.client("c1h3");
    const { pool } = await remote.storagePoolLookupByName({ name: "shared" });
    await assert.rejects(
      remote.storageVolCreateXml({ pool, xml: volume("full"), flags: 0 }),
      refused("VIR_ERR_SYSTEM_ERROR", /No space left on device/),
    );
  });
});

const HALF = 0.5;
const DRAWN = {
  refuse: { kind: "refuse", probability: HALF },
  hang: { kind: "hang", probability: HALF },
  "hang of a call": { kind: "hang", probability: HALF, procedure: "connectGetType" },
  slow: { kind: "slow", probability: HALF, procedure: "connectGetType" },
  cut: { kind: "cut", probability: HALF, afterBytes: 60 },
  fail: { kind: "fail", probability: HALF, procedure: "connectGetType" },
};

/** By kind, for each of 40 hosts: whether its first connection's call is hit (x) or not (.). */
async function outcomesOf(seed: number): Promise<Record<string, string>> {
  const outcomes: Record<string, string> = {};
  for (const [kind, rule] of Object.entries(DRAWN)) {
    await using bench = new Bench({ hosts: 40, vms: 0, seed });
    bench.fleet.setFaults([readRule(rule)]);
    let marks = "";
    for (const { name } of bench.fleet.hosts) {
      const call = bench.client(name).then(({ remote }) => remote.connectGetType());
      marks += (await isAnswered(bench, call)) ? "." : "x";
    }
    outcomes[kind] = marks;
    bench.fleet.setFaults([]);
    await bench.clock.advance(10_000);
  }
  return outcomes;
}

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

  test("hang without a procedure hits as many connections as its probability says", async () => {
    await using bench = new Bench({ hosts: 100, vms: 0 });
    const connections = await Promise.all(bench.fleet.hosts.map(({ name }) => bench.client(name)));
    bench.fleet.setFaults([readRule({ kind: "hang", probability: 0.1 })]);
    const calls = connections.map(({ remote }) => remote.connectGetType());
    const answered = await Promise.all(calls.map((call) => isAnswered(bench, call)));
    const hung = answered.filter((each) => !each).length;
    assert.ok(hung >= 3 && hung <= 20, `${hung} of 100`);
    bench.fleet.setFaults([]);
    await Promise.all(calls);
  });

  test("a call that hangs goes on when the rule is taken back, and never when its connection has ended", async () => {
    await using bench = new Bench();
    const domain = bench.running("c1h1");
    const [gone, stays] = [await bench.client("c1h1"), await bench.client("c1h1")];
    bench.fleet.setFaults([readRule({ kind: "hang", procedure: "domain*" })]);
    const lost = gone.remote.domainDestroy({ dom: domain.ref });
    const state = stays.remote.domainGetState({ dom: domain.ref });
    assert.equal(await isAnswered(bench, state), false);
    const [first] = bench.fleet.find("c1h1").daemon.sessions;
    first?.close();
    await assert.rejects(lost, ConnectionLostError);
    bench.fleet.setFaults([]);
    assert.equal((await state).state, VIR_DOMAIN_RUNNING);
  });

  test("cut ends with its rule, and further rules do not give back the bytes that have left", async () => {
    await using bench = new Bench();
    const cut = readRule({ kind: "cut", afterBytes: 1_000 });
    bench.fleet.setFaults([cut]);
    const spared = await bench.client("c1h1");
    bench.fleet.setFaults([]);
    await spared.remote.connectGetCapabilities();
    bench.fleet.setFaults([cut]);
    const { remote } = await bench.client("c1h2");
    const ask = async (): Promise<void> => {
      for (let call = 0; call < 50; call += 1) {
        await remote.connectGetType();
        bench.fleet.setFaults([...bench.fleet.faults, readRule({ kind: "slow", host: "nobody" })]);
      }
    };
    await assert.rejects(ask(), ConnectionLostError);
  });

  test("further rules leave those that stand where they are in their draws", async () => {
    const seen: string[] = [];
    for (const isDisturbed of [false, true]) {
      await using bench = new Bench();
      const { remote } = await bench.client("c1h1");
      bench.fleet.setFaults([readRule({ kind: "fail", procedure: "connectGetHostname", probability: 0.5 })]);
      let outcomes = "";
      for (let call = 0; call < 40; call += 1) {
        if (isDisturbed) bench.fleet.setFaults([...bench.fleet.faults, readRule({ kind: "slow", host: "nobody" })]);
        outcomes += await remote.connectGetHostname().then(
          () => ".",
          () => "x",
        );
      }
      seen.push(outcomes);
    }
    assert.equal(seen[0], seen[1]);
  });

  test("the same seed goes wrong in the same places, on all hosts and in all kinds; another seed elsewhere", async () => {
    const one = await outcomesOf(1);
    assert.deepEqual(await outcomesOf(1), one);
    const other = await outcomesOf(2);
    for (const [kind, outcomes] of Object.entries(one)) {
      assert.notEqual(other[kind], outcomes, kind);
      for (const mark of [".", "x"]) assert.ok(outcomes.includes(mark), `${kind}: ${outcomes}`);
    }
  });

  test("what is not a rule is refused in the user's words", () => {
    assert.throws(() => readRule({ kind: "explode" }), /kind must be one of refuse, hang, slow, cut, fail/);
    assert.throws(() => readRule({ kind: "fail", code: "NOPE" }), /VIR_ERR_OPERATION_FAILED, not NOPE/);
    assert.throws(() => readRule({ kind: "fail", chance: 1 }), /there is no chance/);
    assert.throws(() => readRule({ kind: "fail", probability: 2 }), /fault: probability must be 0 to 1/);
  });
});

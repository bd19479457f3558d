/**
 * Every libvirt call that the drivers make, made by this client and by python3-libvirt (libvirt's own C client) against
 * the same daemon: same answers to the last bit, same effects, same errors. That none is left out: comparison.test.ts.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Connection, connect } from "@innkeeper/libvirt";
import { Lab } from "@innkeeper/lab/lab.ts";
import { Comparison } from "./test-support/comparison.ts";
import { comparedCalls } from "./test-support/compared-table.ts";
import { daemonSocket } from "./test-support/daemon-socket.ts";
import { Python } from "./test-support/python.ts";

const labName = "comparison";
/** Where python finds an object by its name `n`. */
const poolLookup = "c.storagePoolLookupByName(n)";
const networkLookup = "c.networkLookupByName(n)";
const domainLookup = "c.lookupByName(n)";
const volumeLookup = (suffix: string): string =>
  `c.storagePoolLookupByName('local').storageVolLookupByName(n + '${suffix}')`;

/** No guest here sleeps, has an agent or a snapshot; the rest is seen to work by conformance and migration.lab.test.ts. */
const refusedHere = [
  "connectGetSysinfo",
  "domainAbortJob",
  "domainGetGuestInfo",
  "domainMigratePerform3Params",
  "domainMigrateStartPostCopy",
  "domainPmWakeup",
  "domainRevertToSnapshot",
  "domainShutdownFlags",
  "domainSnapshotCurrent",
  "domainSnapshotLookupByName",
];

const itself = (name: string): Promise<string> => Promise.resolve(name);

describe("calls compared with python3-libvirt", { timeout: 300_000 }, () => {
  let lab: Lab;
  let connection: Connection;
  let python: Python;
  let comparison: Comparison;

  before(async () => {
    await Lab.down(labName);
    lab = await Lab.up({ name: labName, hostCount: 1 });
    const uri = `qemu+unix:///system?socket=${await daemonSocket(lab.folder, lab.host("h1"))}`;
    connection = await connect(uri);
    python = new Python(uri);
    comparison = new Comparison(connection, python);
  });
  after(async () => {
    await connection?.close();
    await python?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  const domain = async (name: string) => (await connection.remote.domainLookupByName({ name })).dom;
  const network = async (name: string) => (await connection.remote.networkLookupByName({ name })).net;
  const pool = async (name: string) => (await connection.remote.storagePoolLookupByName({ name })).pool;
  const volume = (suffix: string) => async (name: string) =>
    (await connection.remote.storageVolLookupByName({ pool: await pool("local"), name: name + suffix })).vol;

  test("pools and volumes", async () => {
    await comparison.changes(comparedCalls.poolMakings, itself, "n");
    await comparison.changes(comparedCalls.poolChanges, pool, poolLookup);
    await comparison.changes(comparedCalls.volumeMakings, itself, "n");
    await comparison.changes(comparedCalls.volumeChanges, volume(".raw"), volumeLookup(".raw"));
    await comparison.reads(comparedCalls.poolReads, await pool("local"), poolLookup, "local");
    await comparison.reads(
      comparedCalls.volumeReads,
      await volume(".qcow2")("twin-a"),
      volumeLookup(".qcow2"),
      "twin-a",
    );
    const goneVolume = await volume("-copy.qcow2")("twin-a");
    const gonePool = await pool("twin-a");
    await python.keep("gone_volume", volumeLookup("-copy.qcow2").replace("(n ", "('twin-a' "));
    await python.keep("gone_pool", "c.storagePoolLookupByName('twin-a')");
    await comparison.changes(comparedCalls.volumeRemovals, volume("-copy.qcow2"), volumeLookup("-copy.qcow2"));
    await comparison.reads(comparedCalls.volumeReads, goneVolume, "gone_volume", "twin-a");
    await python.run("gone_pool.destroy()");
    await comparison.reads(comparedCalls.poolReads, gonePool, "gone_pool", "twin-a");
  });

  test("networks", async () => {
    await comparison.changes(comparedCalls.networkMakings, itself, "n");
    const gone = await network("twin-a");
    await python.keep("gone_network", "c.networkLookupByName('twin-a')");
    await comparison.reads(comparedCalls.networkReads, gone, networkLookup, "twin-a");
    await comparison.reads(comparedCalls.networkReads, await network("default"), networkLookup, "default");
    await comparison.changes(comparedCalls.networkChanges, network, networkLookup);
    await comparison.reads(comparedCalls.networkReads, gone, "gone_network", "twin-a");
  });

  test("domains, off, running and gone; the host", async () => {
    await comparison.changes(comparedCalls.domainMakings, itself, "n");
    const dom = await domain("twin-a");
    await python.keep("gone_domain", "c.lookupByName('twin-a')");
    await comparison.reads(comparedCalls.domainReads, dom, domainLookup, "twin-a");
    const isRunningFrom =
      comparedCalls.domainChanges.findLastIndex(({ procedure }) => procedure === "domainCreate") + 1;
    await comparison.changes(comparedCalls.domainChanges.slice(0, isRunningFrom), domain, domainLookup);
    await comparison.reads(comparedCalls.domainReads, await domain("twin-a"), domainLookup, "twin-a");
    await comparison.reads(comparedCalls.hostReads, undefined, "None", "twin-a");
    await comparison.changes(comparedCalls.domainChanges.slice(isRunningFrom), domain, domainLookup);
    await comparison.reads(comparedCalls.domainReads, dom, "gone_domain", "twin-a");
    // What was saved could be restored still.
    const onGone = comparedCalls.domainChanges.filter(
      ({ before, procedure }) => before === undefined && procedure !== "domainRestoreFlags",
    );
    await comparison.changes(onGone, () => Promise.resolve(dom), "gone_domain");
  });

  test("there is no difference", () => {
    assert.deepEqual(comparison.differences, []);
  });

  test("none is compared by its refusals alone, but for those that a single host can't do", () => {
    const calls = Object.values(comparedCalls).flat();
    const refused = new Set(calls.map(({ procedure }) => procedure)).difference(comparison.answered);
    assert.deepEqual(refused, new Set(refusedHere));
  });
});

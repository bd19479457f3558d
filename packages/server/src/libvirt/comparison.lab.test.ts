/**
 * Every libvirt call that the drivers make, made by this client and by python3-libvirt (libvirt's own C client) against
 * the same daemon: same answers to the last bit, same effects, same errors. What only reads is also held against what
 * virsh prints. That none is left out: comparison.test.ts.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { twins } from "./test-support/compared-call.ts";
import { Comparison } from "./test-support/comparison.ts";
import { guestMovesTo, guestXml, transientMoves } from "./test-support/compared-guest-change.ts";
import { comparedCalls } from "./test-support/compared-table.ts";
import { daemonSocket } from "./test-support/daemon-socket.ts";
import { Virsh } from "./test-support/virsh.ts";
import { virshFiles, virshMakings, virshRows } from "./test-support/virsh-table.ts";

const labName = "comparison";
/** Where python finds an object by its name `n`. */
const poolLookup = "c.storagePoolLookupByName(n)";
const networkLookup = "c.networkLookupByName(n)";
const domainLookup = (suffix = ""): string => `c.lookupByName(n + '${suffix}')`;
const volumeLookup = (suffix: string): string =>
  `c.storagePoolLookupByName('local').storageVolLookupByName(n + '${suffix}')`;

/** As a server's firmware tells of it; a lab host has no tables of its own, or this machine's. */
const dmidecode = `#!/bin/sh
cat <<'END'
System Information
\tManufacturer: ACME
\tProduct Name: Röhre 9000
\tVersion: 1
\tSerial Number: 0815
\tUUID: 00000000-0000-4000-8000-000000000815
\tSKU Number: None
\tFamily: Server

END
`;

const itself = (name: string): Promise<string> => Promise.resolve(name);

describe("calls compared with python3-libvirt", { timeout: 300_000 }, () => {
  let lab: Lab;
  let comparison: Comparison;

  before(async () => {
    await Lab.down(labName);
    lab = await Lab.up({ name: labName, hostCount: 2 });
    const [host, second] = lab.hosts;
    assert(host !== undefined && second !== undefined);
    const program = path.join(lab.sharedFolder, "dmidecode");
    await writeFile(program, dmidecode, { mode: 0o755 });
    await host.exec(["mount", "--bind", program, "/usr/sbin/dmidecode"]);
    // It is asked once, when the daemon starts.
    await host.killLibvirtd();
    await host.startLibvirtd();
    const [uri, otherUri] = await Promise.all(
      lab.hosts.map(async (each) => `qemu+unix:///system?socket=${await daemonSocket(lab.folder, each)}`),
    );
    assert(uri !== undefined && otherUri !== undefined);
    comparison = await Comparison.open(uri);
    await comparison.python.keep("h2", `libvirt.open('${otherUri}')`);
  });
  after(async () => {
    await comparison?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  const domainOf =
    (suffix = "") =>
    async (name: string) =>
      (await comparison.connection.remote.domainLookupByName({ name: name + suffix })).dom;
  async function virshDifferences(): Promise<(string | undefined)[]> {
    for (const [name, content] of Object.entries(virshFiles))
      await writeFile(path.join(lab.sharedFolder, name), content);
    const virsh = new Virsh(comparison.uri, lab.sharedFolder);
    for (const command of virshMakings) await virsh.run(command);
    const differences: (string | undefined)[] = [];
    for (const row of virshRows) differences.push(await virsh.difference(comparison.connection, row).catch(String));
    return differences.filter((each) => each !== undefined);
  }
  const network = async (name: string) => (await comparison.connection.remote.networkLookupByName({ name })).net;
  const pool = async (name: string) => (await comparison.connection.remote.storagePoolLookupByName({ name })).pool;
  const volume = (suffix: string) => async (name: string) =>
    (await comparison.connection.remote.storageVolLookupByName({ pool: await pool("local"), name: name + suffix })).vol;

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
    await comparison.python.keep("gone_volume", volumeLookup("-copy.qcow2").replace("(n ", "('twin-a' "));
    await comparison.python.keep("gone_pool", "c.storagePoolLookupByName('twin-a')");
    await comparison.changes(comparedCalls.volumeRemovals, volume("-copy.qcow2"), volumeLookup("-copy.qcow2"));
    await comparison.reads(comparedCalls.volumeReads, goneVolume, "gone_volume", "twin-a");
    await comparison.python.run("gone_pool.destroy()");
    await comparison.reads(comparedCalls.poolReads, gonePool, "gone_pool", "twin-a");
  });

  test("networks", async () => {
    await comparison.changes(comparedCalls.networkMakings, itself, "n");
    const gone = await network("twin-a");
    await comparison.python.keep("gone_network", "c.networkLookupByName('twin-a')");
    await comparison.reads(comparedCalls.networkReads, gone, networkLookup, "twin-a");
    await comparison.reads(comparedCalls.networkReads, await network("default"), networkLookup, "default");
    await comparison.changes(comparedCalls.networkChanges, network, networkLookup);
    await comparison.reads(comparedCalls.networkReads, gone, "gone_network", "twin-a");
  });

  test("domains, off, running and gone; the host", async () => {
    await comparison.changes(comparedCalls.domainMakings, itself, "n");
    const dom = await domainOf()("twin-a");
    await comparison.python.keep("gone_domain", "c.lookupByName('twin-a')");
    await comparison.reads(comparedCalls.domainReads, dom, domainLookup(), "twin-a");
    const isRunningFrom =
      comparedCalls.domainChanges.findLastIndex(({ procedure }) => procedure === "domainCreate") + 1;
    await comparison.changes(comparedCalls.domainChanges.slice(0, isRunningFrom), domainOf(), domainLookup());
    await comparison.reads(comparedCalls.domainReads, await domainOf()("twin-a"), domainLookup(), "twin-a");
    await comparison.reads(comparedCalls.hostReads, undefined, "None", "twin-a");
    await comparison.changes(comparedCalls.domainChanges.slice(isRunningFrom), domainOf(), domainLookup());
    await comparison.reads(comparedCalls.domainReads, dom, "gone_domain", "twin-a");
    // What was saved could be restored still.
    const onGone = comparedCalls.domainChanges.filter(
      ({ before, procedure }) => before === undefined && procedure !== "domainRestoreFlags",
    );
    await comparison.changes(onGone, () => Promise.resolve(dom), "gone_domain");
  });

  test("a domain that moves, and a guest with an agent", async () => {
    const { uri } = lab.host("h2");
    await comparison.changes(transientMoves(uri), domainOf("-transient"), domainLookup("-transient"));
    const image = await guestImage();
    for (const name of twins) {
      const disk = path.join(lab.sharedFolder, `${name}.qcow2`);
      await promisify(execFile)("qemu-img", ["create", "-q", "-f", "qcow2", "-b", image.path, "-F", "qcow2", disk]);
      await comparison.python.run(`c.defineXML(${JSON.stringify(guestXml(`${name}-guest`, disk))}).create()`);
    }
    for (const name of twins) await comparison.python.run(`answers(c.lookupByName('${name}-guest'))`);
    const guest = await domainOf("-guest")("twin-a");
    await comparison.reads(comparedCalls.domainReads, guest, domainLookup("-guest"), "twin-a");
  });

  test("what virsh prints", async () => {
    assert.deepEqual(await virshDifferences(), []);
  });

  test("a guest that sleeps, is woken and moves", async () => {
    const moves = guestMovesTo(lab.host("h2").uri);
    await comparison.changes(moves, domainOf("-guest"), domainLookup("-guest"));
  });

  test("there is no difference", () => {
    assert.deepEqual(comparison.differences, []);
  });

  test("none is compared by its refusals alone", () => {
    const procedures = Object.values(comparedCalls)
      .flat()
      .map(({ procedure }) => procedure);
    const refused = new Set(procedures).difference(comparison.answered);
    assert.deepEqual([...refused], []);
  });
});

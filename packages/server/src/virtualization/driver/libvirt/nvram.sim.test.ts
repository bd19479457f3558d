/** Files of firmware variables on a simulated host: one that another VM's definition names is neither written nor deleted. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { connect, type Connection } from "@innkeeper/libvirt";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import { newImage } from "@innkeeper/sim/host/file/image.ts";
import { SimHost } from "@innkeeper/sim/host/sim-host.ts";
import { procedureTable } from "@innkeeper/sim/procedure/table.ts";
import { SimDaemon } from "@innkeeper/sim/rpc/daemon.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import type { GuestHypervisor } from "#virtualization/port.ts";
import { createLibvirtHypervisor } from "./hypervisor.ts";
import { defaultNvramFile } from "./nvram.ts";
import { hasCode } from "./test-support/lab-hypervisor.ts";

const call = { signal: AbortSignal.timeout(60_000) };
const wanted = defaultNvramFile("wanted");
const domain = (name: string, nvram: string): string =>
  `<domain type='qemu'><name>${name}</name><memory unit='MiB'>64</memory>
   <os firmware='efi'><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><nvram>${nvram}</nvram></os></domain>`;

suite("firmware variables that are another VM's", () => {
  let host: SimHost;
  let connection: Connection;
  let guest: GuestHypervisor;
  let uuid: string;

  const make = (file: string): void =>
    void host.files.createImage(file, { mode: 0o600, uid: 0, gid: 0 }, newImage("raw", 540_672));
  const define = async (name: string, nvram: string): Promise<string> =>
    (await connection.remote.domainDefineXml({ xml: domain(name, nvram) })).dom.uuid;

  before(async () => {
    host = new SimHost({ name: "h1", clock: new RealClock(), seed: 1 });
    const daemon = new SimDaemon(host, procedureTable);
    const uri = "qemu:///system";
    connection = await connect(uri, { dial: () => daemon.dial() });
    const session = { connection: () => Promise.resolve(connection) };
    guest = createLibvirtHypervisor({ session, log: silentLogger, clock: systemClock, uri });
    uuid = await define("mine", defaultNvramFile("mine"));
    await define("holder", wanted);
    for (const file of [wanted, defaultNvramFile("mine")]) make(file);
  });
  after(() => connection?.close());

  test("a rename and a copy to that name are refused, and change nothing", async () => {
    const kept = host.files.file(wanted);
    await assert.rejects(guest.lifecycle.rename(uuid, "wanted", call), hasCode("conflict"));
    const xml = await guest.inventory.xml(uuid, { inactive: true }, call);
    const copy = { name: "wanted", uuid: crypto.randomUUID() };
    await assert.rejects(guest.lifecycle.defineXml(xml, copy, call), hasCode("conflict"));
    assert.equal(host.files.file(wanted), kept);
    assert.deepEqual([...host.domains.all].map(({ name }) => name).toSorted(), ["holder", "mine"]);
  });

  test("state that a migration brings is not put there, and its undo does not delete it", async () => {
    const kept = host.files.file(wanted);
    const files = [{ path: wanted, bytes: new Uint8Array(8) }];
    const newcomer = crypto.randomUUID();
    await assert.rejects(guest.migration.writeState(newcomer, files, call), hasCode("conflict"));
    await guest.migration.deleteState({ uuid: newcomer, paths: [wanted] }, call);
    assert.equal(host.files.file(wanted), kept);
  });

  test("what nobody names is replaced, and taken away", async () => {
    const stale = defaultNvramFile("stale");
    make(stale);
    const newcomer = crypto.randomUUID();
    await guest.migration.writeState(newcomer, [{ path: stale, bytes: new Uint8Array(8) }], call);
    assert.equal(host.files.file(stale).lengthBytes, 8);
    await guest.migration.deleteState({ uuid: newcomer, paths: [stale] }, call);
    assert.equal(host.files.find(stale), undefined);
    make(stale);
    await guest.lifecycle.rename(uuid, "stale", call);
    assert.equal(host.files.find(defaultNvramFile("mine")), undefined);
    assert.ok(host.files.find(stale));
  });
});

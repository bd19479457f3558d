/** Folders that libvirt keeps, on a simulated host: what an interrupted step left of a pool there is in nobody's way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Connection, connect, VIR_STORAGE_POOL_CREATE_WITH_BUILD } from "@innkeeper/libvirt";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import { SimHost } from "@innkeeper/sim/host/sim-host.ts";
import { procedureTable } from "@innkeeper/sim/procedure/table.ts";
import { SimDaemon } from "@innkeeper/sim/rpc/daemon.ts";
import { hasFileIn, inFolder, removeFolder, writeFileIn } from "./folder-pool.ts";

const folder = "/var/lib/libvirt/qemu/nvram";
const options = { signal: AbortSignal.timeout(60_000), timeoutMs: 60_000 };

async function simConnection(): Promise<Connection> {
  const host = new SimHost({ name: "h1", clock: new RealClock(), seed: 1 });
  const daemon = new SimDaemon(host, procedureTable);
  return await connect("qemu:///system", { dial: () => daemon.dial() });
}

async function poolNames({ remote }: Connection): Promise<string[]> {
  const { pools } = await remote.connectListAllStoragePools({ needResults: 1, flags: 0 });
  return pools.map(({ name }) => name).filter((name) => name.startsWith("innkeeper-"));
}

const leftPool = () =>
  `<pool type="dir"><name>innkeeper-${crypto.randomUUID()}</name><target><path>${folder}</path></target></pool>`;

test("a pool that an interrupted step left running is taken away by the next one", async () => {
  const connection = await simConnection();
  const flags = VIR_STORAGE_POOL_CREATE_WITH_BUILD;
  await connection.remote.storagePoolCreateXml({ xml: leftPool(), flags });
  await inFolder(connection, folder, options, (each) => writeFileIn(each, "a_VARS.fd", Buffer.from("a")));
  assert.deepEqual(await poolNames(connection), []);
  assert.equal(await inFolder(connection, folder, options, (each) => hasFileIn(each, "a_VARS.fd")), true);
  await connection.close();
});

test("a pool that an interrupted step left defined is taken away, too", async () => {
  const connection = await simConnection();
  await connection.remote.storagePoolDefineXml({ xml: leftPool() });
  assert.equal(await inFolder(connection, folder, options, async () => "done", true), "done");
  assert.deepEqual(await poolNames(connection), []);
  await connection.remote.storagePoolDefineXml({ xml: leftPool() });
  await removeFolder(connection, folder, options);
  assert.deepEqual(await poolNames(connection), []);
  await connection.close();
});

test("who works in one folder at a time does not take the pool from the other", async () => {
  const connection = await simConnection();
  await inFolder(connection, folder, options, async () => undefined, true);
  const names = Array.from({ length: 5 }, (_, index) => `${index}_VARS.fd`);
  await Promise.all(
    names.map((name) => inFolder(connection, folder, options, (each) => writeFileIn(each, name, Buffer.from(name)))),
  );
  const there = await inFolder(connection, folder, options, (each) =>
    Promise.all(names.map((name) => hasFileIn(each, name))),
  );
  assert.deepEqual(
    there,
    names.map(() => true),
  );
  assert.deepEqual(await poolNames(connection), []);
  await connection.close();
});

test("a pool that someone has there is used as it is, and stays", async () => {
  const connection = await simConnection();
  const xml = leftPool().replace(/<name>.*<\/name>/, "<name>theirs</name>");
  const { pool } = await connection.remote.storagePoolCreateXml({ xml, flags: VIR_STORAGE_POOL_CREATE_WITH_BUILD });
  assert.equal(await inFolder(connection, folder, options, async (each) => each.pool.name), "theirs");
  assert.equal((await connection.remote.storagePoolIsActive({ pool })).active, 1);
  await connection.close();
});

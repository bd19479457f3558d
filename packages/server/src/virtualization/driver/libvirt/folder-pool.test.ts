/** Folders that libvirt keeps, on a simulated host: what an interrupted step left of a pool there is in nobody's way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Connection, connect, VIR_STORAGE_POOL_CREATE_WITH_BUILD } from "@innkeeper/libvirt";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import { SimHost } from "@innkeeper/sim/host/sim-host.ts";
import { procedureTable } from "@innkeeper/sim/procedure/table.ts";
import { SimDaemon } from "@innkeeper/sim/rpc/daemon.ts";
import { markOwnPools, removeLeftPools } from "#libvirt/own-pool.ts";
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

/** `owner`: by default whoever has the connection. */
const leftPool = (owner = "00000000") =>
  `<pool type="dir"><name>innkeeper-${owner}${crypto.randomUUID().slice(8)}</name><target><path>${folder}</path></target></pool>`;

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

test("a pool of another installation is waited for while it is in use, and taken away when nobody can be using it", async () => {
  const connection = await simConnection();
  const { remote } = connection;
  markOwnPools(connection, "0a0a0a0a");
  const flags = VIR_STORAGE_POOL_CREATE_WITH_BUILD;
  const { pool } = await remote.storagePoolCreateXml({ xml: leftPool("0b0b0b0b"), flags });
  let isDone = false;
  const work = inFolder(connection, folder, options, async () => (isDone = true));
  const nowMs = performance.now();
  assert.deepEqual(await removeLeftPools(connection, options, nowMs), { removed: 0, held: 1 });
  assert.equal(isDone, false);
  await remote.storagePoolDestroy({ pool });
  await work;

  await remote.storagePoolCreateXml({ xml: leftPool("0a0a0a0a"), flags });
  assert.deepEqual(await removeLeftPools(connection, options, nowMs), { removed: 1, held: 0 });
  await remote.storagePoolCreateXml({ xml: leftPool("0b0b0b0b"), flags });
  assert.deepEqual(await removeLeftPools(connection, options, nowMs), { removed: 0, held: 1 });
  assert.deepEqual(await removeLeftPools(connection, options, nowMs + 140_000), { removed: 0, held: 1 });
  assert.deepEqual(await removeLeftPools(connection, options, nowMs + 160_000), { removed: 1, held: 0 });
  assert.deepEqual(await poolNames(connection), []);
  await connection.close();
});

test("two installations work in one folder at a time, and neither takes the other's pool", async () => {
  const host = new SimHost({ name: "h1", clock: new RealClock(), seed: 1 });
  const daemon = new SimDaemon(host, procedureTable);
  const connections = await Promise.all(
    ["0a0a0a0a", "0b0b0b0b"].map(async (owner) => {
      const connection = await connect("qemu:///system", { dial: () => daemon.dial() });
      markOwnPools(connection, owner);
      return connection;
    }),
  );
  await Promise.all(
    connections.flatMap((connection, index) =>
      ["x", "y", "z"].map((letter) =>
        inFolder(
          connection,
          folder,
          options,
          (each) => writeFileIn(each, `${index}${letter}`, Buffer.from(letter)),
          true,
        ),
      ),
    ),
  );
  const [first] = connections;
  assert.ok(first !== undefined);
  assert.deepEqual(await poolNames(first), []);
  for (const connection of connections) await connection.close();
});

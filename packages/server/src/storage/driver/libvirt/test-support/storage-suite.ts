/**
 * What the storage driver must do on any host: a real one of the lab, and a simulated one. Hands change things behind
 * libvirt's back through the bench.
 */
import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { type Connection, VIR_STORAGE_POOL_CREATE_WITH_BUILD } from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import { silentLogger } from "#core/log.ts";
import { isOwnPool, withOwnPoolName } from "#libvirt/own-pool.ts";
import { systemClock } from "#core/system-clock.ts";
import type { HostStorage } from "#storage/port.ts";
import { libvirtStorage } from "../libvirt-storage.ts";

export interface StorageBench extends AsyncDisposable {
  readonly connection: Connection;
  /** The host's files, without libvirt. */
  readonly files: {
    create(path: string, sizeBytes: number): Promise<void>;
    /** With data: no part of it is a hole. */
    fill(path: string, sizeBytes: number): Promise<void>;
    write(path: string, text: string): Promise<void>;
    read(path: string): Promise<string>;
    remove(path: string): Promise<void>;
  };
}

export const folder = "/var/lib/libvirt/p1";

export function storageOn(connection: Connection): HostStorage {
  const session = { connection: () => Promise.resolve(connection) };
  return libvirtStorage({ session, clock: systemClock, log: silentLogger });
}

function dirPool(name: string, path: string): string {
  return `<pool type="dir"><name>${name}</name><target><path>/var/lib/libvirt/${path}</path></target></pool>`;
}

async function allPools({ remote }: Connection): Promise<{ readonly names: string[] }> {
  const { pools } = await remote.connectListAllStoragePools({ needResults: 1, flags: 0 });
  return { names: pools.map(({ name }) => name) };
}

/** @param own tests that only this kind of host can have. */
export function storageSuite<Bench extends StorageBench>(
  name: string,
  open: () => Promise<Bench>,
  own: (bench: () => Bench) => void = () => undefined,
): void {
  describe(name, () => {
    let bench: Bench;
    let storage: HostStorage;
    const call = { signal: AbortSignal.timeout(120_000) };

    before(async () => {
      bench = await open();
      storage = storageOn(bench.connection);
      await storage.pool.createPool({ name: "p1", uuid: randomUUID(), type: "dir", path: folder }, call);
    });
    after(() => bench?.[Symbol.asyncDispose]());
    own(() => bench);

    test("creating a pool takes up what an interrupted attempt left, and refuses what is another", async () => {
      const definition = { name: "half", uuid: randomUUID(), type: "dir", path: "/var/lib/libvirt/half" } as const;
      const half = `<pool type="dir"><name>half</name><uuid>${definition.uuid}</uuid><target><path>${definition.path}</path></target></pool>`;
      await bench.connection.remote.storagePoolDefineXml({ xml: half });
      assert.equal((await storage.pool.createPool(definition, call)).state, "running");
      const other = { ...definition, uuid: randomUUID() };
      await assert.rejects(storage.pool.createPool(other, call), { code: "name_taken" });
      // One of the name is not the one that is meant.
      await storage.pool.deletePool(other, call);
      assert.equal((await storage.pool.listPools(call)).find((pool) => pool.name === "half")?.uuid, definition.uuid);
      assert.equal((await storage.pool.findPool("half", call))?.uuid, definition.uuid);
      assert.equal(await storage.pool.findPool("none", call), undefined);
      await storage.pool.deletePool(definition, call);
      await storage.pool.deletePool(definition, call);
      assert.equal(
        (await storage.pool.listPools(call)).some((pool) => pool.name === "half"),
        false,
      );
    });

    test("pools that an interrupted step left are neither shown nor kept, running or defined; those in use stay", async () => {
      const { connection } = bench;
      const { remote } = connection;
      const [running, defined] = ["00000000", "00000000"].map(
        (owner) => `innkeeper-${owner}${randomUUID().slice(8)}`,
      ) as [string, string];
      await remote.storagePoolCreateXml({ xml: dirPool(running, "left-1"), flags: VIR_STORAGE_POOL_CREATE_WITH_BUILD });
      await remote.storagePoolDefineXml({ xml: dirPool(defined, "left-2") });
      await remote.storagePoolDefineXml({ xml: dirPool("innkeeper-mine", "left-3") });
      const { names } = await allPools(connection);
      assert.deepEqual(
        [running, defined].filter((name) => !names.includes(name)),
        [],
      );
      const shown = (await storage.pool.listPools(call)).map(({ name }) => name);
      assert.deepEqual(
        shown.filter((name) => isOwnPool(name)),
        [],
      );
      assert.equal(await storage.pool.findPool(running, call), undefined);
      await withOwnPoolName(connection, "/var/lib/libvirt/left-4", async (name) => {
        const { pool } = await remote.storagePoolCreateXml({
          xml: dirPool(name, "left-4"),
          flags: VIR_STORAGE_POOL_CREATE_WITH_BUILD,
        });
        assert.equal(await storage.pool.removeLeft(call), 2);
        assert.deepEqual(
          (await allPools(connection)).names.filter((each) => each.startsWith("innkeeper-")).toSorted(),
          [name, "innkeeper-mine"].toSorted(),
        );
        await remote.storagePoolDestroy({ pool });
      });
      const mine = await remote.storagePoolLookupByName({ name: "innkeeper-mine" });
      await remote.storagePoolUndefine(mine);
      assert.equal(await storage.pool.removeLeft(call), 0);
    });

    test("volumes are looked for on the storage itself", async () => {
      const { volume } = storage;
      await bench.files.create(`${folder}/hand.raw`, 5 << 20);
      assert.equal((await volume.findVolume("p1", "hand.raw", call))?.capacityBytes, 5 << 20);
      assert.equal((await volume.findVolumeByPath(`${folder}/hand.raw`, call))?.name, "hand.raw");
      await bench.files.remove(`${folder}/hand.raw`);
      assert.equal(await volume.findVolume("p1", "hand.raw", call), undefined);
      assert.equal(await volume.findVolumeByPath(`${folder}/hand.raw`, call), undefined);
      assert.equal(await volume.findVolumeByPath("/nowhere/x", call), undefined);
      await assert.rejects(volume.findVolume("none", "x", call), { code: "not_found" });
      await volume.deleteVolume("p1", "hand.raw", call);
    });

    test("a volume that is still being copied is not deleted, nor is its end waited for", async () => {
      const { volume } = storage;
      // Takes a while to copy, also on a quiet machine; zeros would be left out.
      const capacityBytes = 1 << 30;
      const source = { poolName: "p1", name: "big.raw", format: "raw", capacityBytes } as const;
      await volume.createVolume(source, call);
      await bench.files.fill(`${folder}/big.raw`, capacityBytes);
      const over = new AbortController();
      const copying = volume.cloneVolume(source, { ...source, name: "copy.raw" }, call).finally(() => over.abort());
      const deletion = async (): Promise<unknown> => {
        while (!over.signal.aborted) await volume.deleteVolume("p1", "copy.raw", call);
        return "never refused";
      };
      await assert.rejects(deletion(), { code: "conflict", retryable: true });
      assert.equal(over.signal.aborted, false);
      // libvirt reads no pool anew meanwhile: what it can't know is never told as "there is none", nor overwritten.
      await bench.files.write(`${folder}/unseen.qcow2`, "precious\n");
      const unseen = { poolName: "p1", name: "unseen.qcow2", format: "qcow2", capacityBytes: 1 << 20 } as const;
      await assert.rejects(volume.createVolume(unseen, call), { code: "name_taken" });
      const found = await volume.findVolume("p1", unseen.name, call).catch((error: unknown) => error);
      assert.ok(found instanceof AppError ? found.code === "conflict" : found !== undefined, String(found));
      await volume.createVolume({ ...unseen, name: "new.qcow2" }, call);
      assert.equal(await bench.files.read(`${folder}/unseen.qcow2`), "precious\n");
      assert.equal((await copying).capacityBytes, capacityBytes);
      for (const name of ["copy.raw", "big.raw", "unseen.qcow2", "new.qcow2"])
        await volume.deleteVolume("p1", name, call);
    });

    test("overlays, copies and growth", async () => {
      const { volume } = storage;
      const base = await volume.createVolume(
        { poolName: "p1", name: "b.qcow2", format: "qcow2", capacityBytes: 1 << 24 },
        call,
      );
      const overlay = await volume.createVolume(
        {
          poolName: "p1",
          name: "o.qcow2",
          format: "qcow2",
          capacityBytes: 1 << 25,
          backing: { path: base.path, format: "qcow2" },
        },
        call,
      );
      assert.equal(overlay.backingPath, base.path);
      const source = { poolName: "p1", name: "b.qcow2" };
      const copy = { poolName: "p1", name: "c.qcow2", format: "qcow2", capacityBytes: 1 << 25 } as const;
      assert.equal((await volume.cloneVolume(source, copy, call)).capacityBytes, 1 << 25);
      await assert.rejects(volume.cloneVolume(source, copy, call), { code: "name_taken" });
      const small = { ...copy, name: "s.qcow2", capacityBytes: 1 << 20 };
      await assert.rejects(volume.cloneVolume(source, small, call), { code: "invalid_field", field: "capacityBytes" });
      await volume.resizeVolume("p1", "c.qcow2", 1 << 26, call);
      await assert.rejects(volume.resizeVolume("p1", "c.qcow2", 1 << 20, call), { code: "invalid_field" });
      const before = { ...overlay, capacityBytes: 1 };
      const listed = await volume.listVolumes("p1", call, [before, { ...before, name: "gone.qcow2" }]);
      assert.deepEqual(
        new Map(listed.map(({ name, capacityBytes }) => [name, capacityBytes])),
        new Map([
          ["b.qcow2", base.capacityBytes],
          ["c.qcow2", 1 << 26],
          ["o.qcow2", 1],
        ]),
      );
      for (const name of ["o.qcow2", "c.qcow2", "b.qcow2"]) await volume.deleteVolume("p1", name, call);
      assert.deepEqual(await volume.listVolumes("p1", call), []);
    });

    test("content goes in and comes out exactly, and holes stay holes", async () => {
      const { volume } = storage;
      const sizeBytes = 32 << 20;
      const content = Buffer.alloc(sizeBytes);
      for (const at of [0, 9 << 20, sizeBytes - 65_536]) content.set(randomBytes(65_536), at);
      const definition = { poolName: "p1", name: "sparse.raw", format: "raw", capacityBytes: sizeBytes } as const;
      await volume.createVolume(definition, call);
      const progress: number[] = [];
      const onProgress = (done: number): void => void progress.push(done);
      await volume.upload("p1", "sparse.raw", cut(content), sizeBytes, { ...call, onProgress });
      assert.equal(progress.at(-1), sizeBytes);
      const stored = await volume.findVolume("p1", "sparse.raw", call);
      assert.ok((stored?.allocationBytes ?? sizeBytes) < 4 << 20, `${stored?.allocationBytes} bytes are allocated`);
      const download = await volume.download("p1", "sparse.raw", call);
      assert.equal(download.sizeBytes, sizeBytes);
      assert.ok(Buffer.from(await new Response(download.content).arrayBuffer()).equals(content));
      const part = await volume.read("p1", "sparse.raw", { offset: (9 << 20) - 10, length: 1000 }, call);
      assert.ok(Buffer.from(part).equals(content.subarray((9 << 20) - 10, (9 << 20) + 990)));
      assert.equal((await volume.read("p1", "sparse.raw", { offset: sizeBytes - 5, length: 1000 }, call)).length, 5);
      assert.equal((await volume.read("p1", "sparse.raw", { offset: sizeBytes, length: 1000 }, call)).length, 0);
      assert.equal(await volume.fileBytes("p1", "sparse.raw", call), sizeBytes);
      // Written over what was there: zeros must be zeros.
      const zeros = Buffer.alloc(1 << 20);
      await volume.upload("p1", "sparse.raw", cut(zeros), zeros.length, call);
      const again = await volume.download("p1", "sparse.raw", call);
      const head = Buffer.from(await new Response(again.content).arrayBuffer()).subarray(0, zeros.length);
      assert.ok(head.equals(zeros));
      for (const announced of [100, zeros.length + 1]) {
        await assert.rejects(volume.upload("p1", "sparse.raw", cut(zeros), announced, call), { code: "invalid_field" });
      }
    });

    test("a download that is cancelled lets go of the host", async () => {
      const { content } = await storage.volume.download("p1", "sparse.raw", call);
      const reader = content.getReader();
      await reader.read();
      await reader.cancel();
      await storage.volume.deleteVolume("p1", "sparse.raw", call);
      assert.equal(await storage.volume.findVolume("p1", "sparse.raw", call), undefined);
    });

    test("a call's signal ends it as cancelled, its deadline as a timeout", async () => {
      await assert.rejects(storage.pool.listPools({ signal: AbortSignal.abort() }), { code: "cancelled" });
      const late = AbortSignal.timeout(0);
      await once(late, "abort");
      await assert.rejects(storage.pool.listPools({ signal: late }), { code: "timeout" });
    });
  });
}

function cut(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return ReadableStream.from(
    (function* () {
      for (let at = 0; at < bytes.byteLength; at += 65_536) yield bytes.subarray(at, at + 65_536);
    })(),
  );
}

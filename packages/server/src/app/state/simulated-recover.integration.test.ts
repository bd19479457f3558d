/** The store of a fleet lost, or damaged in its header, its pages, its log: named at start, and rebuilt from its hosts as it was. */
import assert from "node:assert/strict";
import { copyFile, open, readFile, rm, writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { silentLogger } from "#core/log.ts";
import { stateLayout } from "#core/state-layout.ts";
import { eventDraft } from "#store/conformance.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import { ManagedFleet } from "../test-support/managed-fleet.ts";
import { openState } from "./open.ts";
import { recoverState, type RecoverReport } from "./recover.ts";

const hostCount = 25;
const vmsPerHost = 5;
/** Of the hosts, those in a cluster. */
const inCluster = (name: string) => name.endsWith("1");
/** SQLite's default. */
const pageBytes = 4096;

describe("the store of a fleet", { timeout: 240_000 }, () => {
  let managed: ManagedFleet;
  let known: unknown;
  before(async () => {
    managed = await ManagedFleet.start({ hosts: hostCount, vms: vmsPerHost });
    await managed.server.admin("POST", "/clusters", { name: "racks" });
    for (const { id } of (await managed.list("host")).filter(({ name }) => inCluster(name))) {
      await managed.server.admin("PATCH", `/hosts/${id}`, { cluster: "racks" });
    }
    // What is Innkeeper's own, of every tenth VM: on its host, too.
    const vms = (await managed.list("vm")).toSorted((a, b) => a.name.localeCompare(b.name));
    const chosen = vms.filter((_, index) => index % 10 === 0);
    for (const [index, { id }] of chosen.entries()) {
      await managed.succeed("PATCH", `/vms/${id}`, {
        tags: [`rack:${index}`],
        folder: `Racks/${index}`,
        description: `number ${index}`,
      });
    }
    await Promise.all(chosen.map(({ id }) => managed.succeed("POST", `/vms/${id}/snapshots`, { name: "before" })));
    known = await shown();
  });
  after(() => managed?.[Symbol.asyncDispose]());

  const named = () =>
    managed.fleet.hosts.map(({ name, uris: [uri = ""] }) => ({
      name,
      uri,
      ...(inCluster(name) ? { cluster: "racks" } : {}),
    }));

  /** Of each VM what an administrator has made it, and where it is; each snapshot's place in the tree. */
  async function shown(): Promise<unknown> {
    await managed.until("all hosts are read", async () => {
      const [connected, unknown] = [
        await managed.count("host", "state=connected"),
        await managed.count("vm", "state=unknown"),
      ];
      return connected === hostCount && unknown === 0 && (await managed.count("vm")) === hostCount * vmsPerHost;
    });
    const vms = (await managed.list("vm")).map(
      ({ id, name, uuid, state, tags, folder, description, hostId, spec }: Vm) => ({
        id,
        name,
        uuid,
        state,
        tags,
        folder,
        description,
        hostId,
        disks: spec.disks.map(({ source }) => source),
      }),
    );
    const snapshots = await managed.list("snapshot");
    const trees = snapshots.map(({ id, name, vmId, parentId }) => ({ id, name, vmId, parentId }));
    const clustered = (await managed.list("host", "cluster=racks")).map(({ name }) => name);
    return { clustered, vms: vms.toSorted(byId), snapshots: trees.toSorted(byId) };
  }

  const damages: readonly {
    readonly what: string;
    readonly message: RegExp;
    /** Of those that can't be read there any more. */
    readonly hostsAreNamed?: true;
    readonly break: (file: string) => Promise<void>;
  }[] = [
    {
      what: "header and pages",
      message: /store\.sqlite is corrupted/,
      hostsAreNamed: true,
      // Every third page of it, and the first.
      async break(file) {
        const { length } = await readFile(file);
        for (let at = 0; at < length; at += 3 * pageBytes) await overwrite(file, at, pageBytes);
      },
    },
    {
      what: "write-ahead log",
      message: /store\.sqlite is corrupted\. Its write-ahead log is damaged at frame \d+: \d+ commits/,
      async break(file) {
        const store = await openSqliteStore({ file });
        for (let index = 0; index < 20; index++) {
          await store.transaction((transaction) => transaction.put("event", eventDraft(`late ${index}`)));
        }
        // As a process that was killed leaves it.
        await copyFile(file, `${file}.kept`);
        await copyFile(`${file}-wal`, `${file}-wal.kept`);
        await store[Symbol.asyncDispose]();
        for (const name of [file, `${file}-wal`]) {
          await writeFile(name, await readFile(`${name}.kept`));
          await rm(`${name}.kept`);
        }
        await overwrite(`${file}-wal`, 32 + 5 * (24 + pageBytes) + 1000, 2000);
      },
    },
  ];
  for (const { what, message, hostsAreNamed, break: damage } of damages) {
    test(`damaged: ${what}`, async () => {
      await managed.server.restart(async (stateFolder) => {
        await damage(stateLayout(stateFolder).store);
        await assert.rejects(openState(stateFolder), message);
        const { problem, hosts } = await recover(stateFolder, hostsAreNamed && named());
        assert.match(problem, message);
        assert.equal(hosts.length, hostCount);
        assert.deepEqual(
          hosts.filter(({ fault }) => fault !== undefined),
          [],
        );
      });
      assert.deepEqual(await shown(), known);
    });
  }

  test("lost, and nothing else is left: the hosts are named", async () => {
    await managed.server.restart(async (stateFolder) => {
      await rm(stateLayout(stateFolder).store);
      await rm(stateLayout(stateFolder).backup, { recursive: true, force: true });
      const { problem, sources } = await recover(stateFolder, named());
      assert.match(problem, /store\.sqlite is gone/);
      assert.deepEqual(sources, []);
    });
    assert.deepEqual(await shown(), known);
  });
});

function byId(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id.localeCompare(b.id);
}

function recover(
  stateFolder: string,
  hosts: { name: string; uri: string; cluster?: string }[] = [],
): Promise<RecoverReport> {
  return recoverState({
    stateFolder,
    hosts,
    force: false,
    allowPlainTcp: false,
    log: silentLogger,
    onProgress: () => {},
    signal: AbortSignal.timeout(120_000),
  });
}

async function overwrite(file: string, at: number, length: number): Promise<void> {
  await using handle = await open(file, "r+");
  await handle.write(Buffer.alloc(length, 0xa5), 0, length, at);
}

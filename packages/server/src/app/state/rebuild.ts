/**
 * Fills a store from its hosts: a control plane without its API, wired as the serving one, that adds the hosts that are
 * given, reads those that are stored, and finds what neither needs to be told. A host that can't be reached now is kept,
 * and read when it can be.
 */
import type { Host, HostAdd } from "@innkeeper/contract/resource/host.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Logger } from "#core/log.ts";
import type { SecretBox } from "#core/secret-box.ts";
import { systemClock } from "#core/system-clock.ts";
import { clusterOf } from "#management/cluster/cluster-lookup.ts";
import { hostAddress } from "#management/host/host-address.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { HostCredentials, hostCredentialSpace } from "#management/reconcile/host-credential.ts";
import { findImages, findSharedPools, missingLayers } from "#management/recover/from-hosts.ts";
import { ClaimTable } from "#management/task/claim-table.ts";
import { TaskEngine } from "#management/task/engine.ts";
import type { Store } from "#store/port.ts";
import type { ServerConfig } from "../config.ts";
import { clientTls, wire } from "../wire.ts";
import type { Wiring } from "../wiring.ts";

interface RebuildOptions {
  readonly store: Store;
  readonly secretBox: SecretBox;
  /** With the certificate authority. */
  readonly folder: string;
  readonly hosts: readonly HostAdd[];
  readonly allowPlainTcp: boolean;
  readonly log: Logger;
  readonly onProgress: (message: string) => void;
  readonly signal: AbortSignal;
}

export interface RebuildReport {
  readonly hosts: readonly {
    readonly name: string;
    readonly uri: string;
    readonly vms: number;
    readonly fault?: string;
  }[];
  readonly sharedPools: readonly string[];
  readonly notes: readonly string[];
}

const connectDeadlineMs = 30_000;
const readDeadlineMs = 10 * 60_000;
const findDeadlineMs = 2 * 60_000;

interface Plane {
  readonly options: RebuildOptions;
  readonly inventory: Inventory;
  readonly wiring: Wiring;
  readonly tasks: TaskEngine;
}

export async function rebuild(options: RebuildOptions): Promise<RebuildReport> {
  const { store, secretBox, folder, hosts, allowPlainTcp, log, signal } = options;
  await using begun = new AsyncDisposableStack();
  const inventory = begun.use(await Inventory.open(store));
  await giveCredentials(options, inventory);
  const base = { store, inventory, secretBox, claims: new ClaimTable(), clock: systemClock, log };
  const config = { stateFolder: folder, allowPlainTcp } as ServerConfig;
  const wiring = begun.use(wire({ ...base, config }));
  const tasks = new TaskEngine({ ...base, operations: wiring.operations });
  begun.defer(() => tasks.stop());
  const plane: Plane = { options, inventory, wiring, tasks };
  await restoreClusters(options, inventory, wiring);
  await wiring.start();
  const stored = inventory.list("host");
  const known = new Set(stored.map((host) => host.uri));
  const added = hosts.filter((host) => !known.has(host.uri));
  const rows = await Promise.all([
    ...stored.map((host) => readHost(plane, host)),
    ...added.map((request) => addHost(plane, request)),
  ]);
  signal.throwIfAborted();
  options.onProgress("looking for shared pools and images");
  const call = { signal: AbortSignal.any([signal, AbortSignal.timeout(findDeadlineMs)]) };
  const deps = { store, inventory, providers: wiring.providers, log };
  const sharedPools = await findSharedPools(deps, call);
  await findImages(deps, call);
  return {
    hosts: rows.map((row) => ({ ...row, vms: inventory.list("vm").filter((vm) => vm.hostId === row.hostId).length })),
    sharedPools,
    notes: missingLayers(deps),
  };
}

/** No host knows its cluster: those that given hosts name are made; a host whose cluster was lost is in none. */
async function restoreClusters({ store, hosts }: RebuildOptions, inventory: Inventory, wiring: Wiring): Promise<void> {
  for (const name of new Set(hosts.flatMap(({ cluster }) => cluster ?? []))) {
    const isKnown = inventory.get("cluster", name) ?? inventory.by("cluster", "name", name)[0];
    if (isKnown === undefined) await wiring.cluster.create({ name });
  }
  for (const { clusterId: before, ...host } of inventory.list("host")) {
    const given = hosts.find(({ uri }) => uri === host.uri);
    const clusterId = clusterOf(inventory, given?.cluster, before);
    const isKept = clusterId !== undefined && inventory.get("cluster", clusterId) !== undefined;
    if (clusterId === before && (isKept || before === undefined)) continue;
    await store.transaction((transaction) => transaction.put("host", { ...host, ...(isKept ? { clusterId } : {}) }));
  }
}

interface HostRow {
  readonly hostId: string | undefined;
  readonly name: string;
  readonly uri: string;
  readonly fault?: string;
}

async function readHost({ options, inventory, wiring, tasks }: Plane, host: Host): Promise<HostRow> {
  const row = { hostId: host.id, name: host.name, uri: host.uri };
  options.onProgress(`connecting to host ${host.name} (${host.uri})`);
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(connectDeadlineMs)]);
  try {
    await wiring.providers.find(host.id)?.link.ready({ signal });
    await connected(inventory, host.id, signal);
  } catch (error) {
    options.signal.throwIfAborted();
    const { connectionDetail } = inventory.get("host", host.id) ?? host;
    return { ...row, fault: connectionDetail || (error instanceof Error ? error.message : String(error)) };
  }
  options.onProgress(`reading host ${host.name}`);
  const task = await tasks.submit("host.refresh", { hostId: host.id }, { userName: "system" });
  return { ...row, ...faultOf(await tasks.wait(task.id, readDeadlineMs, options.signal)) };
}

async function addHost({ options, inventory, tasks }: Plane, request: HostAdd): Promise<HostRow> {
  const { uri } = request;
  options.onProgress(`adding host ${uri}`);
  try {
    const submitted = await tasks.submit("host.add", { request }, { userName: "system" });
    const task = await tasks.wait(submitted.id, readDeadlineMs, options.signal);
    const host = inventory.list("host").find((each) => each.uri === uri);
    return { hostId: host?.id, name: host?.name ?? request.name ?? uri, uri, ...faultOf(task) };
  } catch (error) {
    return {
      hostId: undefined,
      name: request.name ?? uri,
      uri,
      fault: error instanceof Error ? error.message : String(error),
    };
  }
}

function faultOf(task: Task): { readonly fault?: string } {
  if (task.state === "succeeded") return {};
  return { fault: task.error?.detail ?? `it was not read in time (${task.state})` };
}

async function connected(inventory: Inventory, hostId: string, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const look = (): void => {
    if (inventory.get("host", hostId)?.connectionState === "connected") resolve();
  };
  const onAbort = (): void => reject(signal.reason as Error);
  const stop = inventory.onChange(look);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    look();
    await promise;
  } finally {
    stop();
    signal.removeEventListener("abort", onAbort);
  }
}

/** Stored hosts whose keys and passwords are lost get those that are given for their URI, else Innkeeper's own certificate. */
async function giveCredentials(
  { store, secretBox, folder, hosts }: RebuildOptions,
  inventory: Inventory,
): Promise<void> {
  const credentials = new HostCredentials(secretBox);
  const defaultTls = clientTls(folder);
  for (const host of inventory.list("host")) {
    const given = hosts.find((each) => each.uri === host.uri);
    const kept = await store.transaction((transaction) => transaction.getPrivate(hostCredentialSpace, host.id));
    if (given === undefined && kept !== undefined) continue;
    const address = await hostAddress(given ?? { uri: host.uri }, defaultTls);
    await store.transaction((transaction) => credentials.put(transaction, host.id, address));
  }
}

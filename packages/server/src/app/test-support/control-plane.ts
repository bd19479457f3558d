/**
 * A control plane without its REST surface, on a lab's hosts, for tests of operations: the real store, inventory, host
 * sync, task engine and libvirt drivers, in a folder that a second one can be opened on after the first was killed.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Lab } from "@innkeeper/lab/lab.ts";
import { newId } from "@innkeeper/contract/id.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import { type Logger, silentLogger } from "#core/log.ts";
import { openSecretBox } from "#core/secret-box.ts";
import { systemClock } from "#core/system-clock.ts";
import { LibvirtHostLink } from "#hardware/driver/libvirt/host-link.ts";
import type { HostAddress } from "#hardware/port.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { vmOperations } from "#management/operation/vm-table.ts";
import { cleanLeftovers } from "#management/vm/migration-leftover.ts";
import type { Provider } from "#management/provider.ts";
import { ProviderTable } from "#management/providers.ts";
import { HostConnections } from "#management/reconcile/host-connection.ts";
import { HostCredentials } from "#management/reconcile/host-credential.ts";
import { HostReconciler } from "#management/reconcile/host-reconciler.ts";
import { ClaimTable } from "#management/task/claim-table.ts";
import { TaskEngine } from "#management/task/engine.ts";
import type { StepBoundary } from "#management/task/task-run.ts";
import { LibvirtNetwork } from "#network/driver/libvirt/libvirt-network.ts";
import { libvirtStorage } from "#storage/driver/libvirt/libvirt-storage.ts";
import type { Store } from "#store/port.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import { createLibvirtHypervisor } from "#virtualization/driver/libvirt/hypervisor.ts";

export interface LabAccess {
  readonly hosts: readonly { readonly name: string; readonly uri: string }[];
  readonly tls: Required<NonNullable<HostAddress["tls"]>>;
}

export async function labAccess(lab: Lab): Promise<LabAccess> {
  const { ca, cert, key } = lab.clientTls;
  const [caCertificate = "", clientCertificate = "", clientKey = ""] = await Promise.all(
    [ca, cert, key].map((file) => readFile(file, "utf8")),
  );
  const hosts = lab.hosts.map(({ name, uri }) => ({ name, uri }));
  return { hosts, tls: { caCertificate, clientCertificate, clientKey } };
}

export interface ControlPlaneOptions {
  readonly folder: string;
  readonly access: LabAccess;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly onStepBoundary?: (boundary: StepBoundary) => void | Promise<void>;
}

const readyMs = 60_000;

export class ControlPlane implements AsyncDisposable {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly engine: TaskEngine;
  readonly deps: OperationDeps;
  readonly #connections: HostConnections;
  #isClosed = false;

  private constructor(parts: { deps: OperationDeps; engine: TaskEngine; connections: HostConnections }) {
    this.store = parts.deps.store;
    this.inventory = parts.deps.inventory;
    this.deps = parts.deps;
    this.engine = parts.engine;
    this.#connections = parts.connections;
  }

  /** Connected to all hosts, everything read, unfinished tasks resumed. */
  static async open(options: ControlPlaneOptions): Promise<ControlPlane> {
    const { log = silentLogger, access, clock = systemClock } = options;
    const store = await openSqliteStore({ file: path.join(options.folder, "store.sqlite") });
    const secretBox = await openSecretBox(path.join(options.folder, "key"));
    const inventory = await Inventory.open(store);
    const providers = new ProviderTable();
    const base = { store, inventory, providers, clock, log };
    const reconciler = new HostReconciler(base);
    const connections = new HostConnections({
      ...base,
      reconciler,
      credentials: new HostCredentials(secretBox),
      checkAddress: () => {},
      onConnected: () => {
        cleanLeftovers(deps, { signal: AbortSignal.timeout(readyMs) }).catch((error: unknown) =>
          log.warn({ err: error }, "leftovers could not be removed"),
        );
      },
      providerFactory: (hostId, address) => libvirtProvider(hostId, address, log, clock),
    });
    const deps: OperationDeps = { ...base, hostSync: reconciler };
    const { onStepBoundary } = options;
    const engine = new TaskEngine({
      ...base,
      secretBox,
      operations: vmOperations(deps),
      claims: new ClaimTable(),
      ...(onStepBoundary === undefined ? {} : { onStepBoundary }),
    });
    const plane = new ControlPlane({ deps, engine, connections });
    await plane.#manage(access);
    await engine.resume();
    return plane;
  }

  host(name: string): Host {
    return this.inventory.require("host", name);
  }

  vm(name: string): Vm {
    return this.inventory.require("vm", name);
  }

  /** Submits and waits for the end. */
  async run(operation: string, input: unknown, timeoutMs = 120_000): Promise<Task> {
    const task = await this.engine.submit(operation, input, { userName: "tester" });
    return this.engine.wait(task.id, timeoutMs);
  }

  /** `run`, and throws unless it succeeded. Returns its result. */
  async succeed<T = Record<string, unknown>>(operation: string, input: unknown, timeoutMs?: number): Promise<T> {
    const task = await this.run(operation, input, timeoutMs);
    if (task.state !== "succeeded") {
      throw new Error(`${operation} is ${task.state} at ${task.message}: ${task.error?.detail ?? "no error"}`);
    }
    return (task.result ?? {}) as T;
  }

  /** A second time is fine. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.engine.stop();
    await this.#connections[Symbol.asyncDispose]();
    this.inventory[Symbol.dispose]();
    await this.store[Symbol.asyncDispose]();
  }

  async #manage({ hosts, tls }: LabAccess): Promise<void> {
    const { store, inventory, clock, hostSync, providers } = this.deps;
    for (const { name, uri } of hosts) {
      const known = inventory.list("host").find((host) => host.name === name);
      const id = known?.id ?? newId("host");
      if (known === undefined) {
        const document = { id, name, uri, description: "", tags: [], maintenance: false, addedAt: timestamp(clock) };
        await store.transaction((transaction) =>
          transaction.put("host", { ...document, connectionState: "connecting", connectionDetail: "" }),
        );
      }
      this.#connections.attach(id, { uri, tls });
    }
    const call = { signal: AbortSignal.timeout(readyMs) };
    for (const { id } of inventory.list("host")) {
      await providers.find(id)?.link.ready(call);
      await this.#connected(id, call.signal);
      await hostSync.syncHost(id, call);
    }
    await this.#shareSharedPools();
  }

  async #connected(hostId: string, signal: AbortSignal): Promise<void> {
    for await (const _change of this.inventory.changes(0, signal)) {
      if (this.inventory.get("host", hostId)?.connectionState === "connected") return;
    }
    throw new Error(`host ${hostId} did not connect`);
  }

  /** The lab's folder lies at the same path on every host. */
  async #shareSharedPools(): Promise<void> {
    await this.store.transaction(async (transaction) => {
      for (const { revision: _, ...pool } of await transaction.list("storage-pool")) {
        if (pool.name === "shared") await transaction.put("storage-pool", { ...pool, shared: true });
      }
    });
  }
}

function libvirtProvider(hostId: string, address: HostAddress, log: Logger, clock: Clock): Provider {
  const link = new LibvirtHostLink(address, { clock, log: log.child({ hostId }), allowPlainTcp: false });
  const context = { session: link, clock, log, uri: address.uri };
  return {
    link,
    guest: createLibvirtHypervisor(context),
    storage: libvirtStorage(context),
    network: new LibvirtNetwork(context),
    [Symbol.asyncDispose]: () => link[Symbol.asyncDispose](),
  };
}

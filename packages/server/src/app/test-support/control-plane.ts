/**
 * A control plane as app/wire.ts makes it, without its REST surface, for tests of operations on a lab's hosts: in a folder
 * that a second one can be opened on after the first was killed.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Lab } from "@innkeeper/lab/lab.ts";
import { newId } from "@innkeeper/contract/id.ts";
import type { Event } from "@innkeeper/contract/resource/event.ts";
import type { Host, HostAdd } from "@innkeeper/contract/resource/host.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import { type Logger, silentLogger } from "#core/log.ts";
import { openSecretBox } from "#core/secret-box.ts";
import { systemClock } from "#core/system-clock.ts";
import type { HostAddress } from "#hardware/port.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { HostCredentials } from "#management/reconcile/host-credential.ts";
import { ClaimTable } from "#management/task/claim-table.ts";
import { TaskEngine } from "#management/task/engine.ts";
import type { StepBoundary } from "#management/task/step-runner.ts";
import type { Store } from "#store/port.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import { wire } from "../wire.ts";
import type { Wiring } from "../wiring.ts";
import { testConfig } from "./test-config.ts";

type LabTls = Required<NonNullable<HostAddress["tls"]>>;

export interface LabAccess {
  readonly hosts: readonly { readonly name: string; readonly uri: string }[];
  readonly tls: LabTls;
}

export async function labAccess(lab: Lab): Promise<LabAccess> {
  const { ca, cert, key } = lab.clientTls;
  const [caCertificate = "", clientCertificate = "", clientKey = ""] = await Promise.all(
    [ca, cert, key].map((file) => readFile(file, "utf8")),
  );
  const hosts = lab.hosts.map(({ name, uri }) => ({ name, uri }));
  return { hosts, tls: { caCertificate, clientCertificate, clientKey } };
}

interface ControlPlaneOptions {
  /** State that another one left, or will find. One of its own, that goes with it, unless told. */
  readonly folder?: string;
  /** Hosts that it has from its begin: connected and read before tasks are resumed, their folder known as shared. */
  readonly access?: LabAccess;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly onStepBoundary?: (boundary: StepBoundary) => void | Promise<void>;
}

const readyMs = 60_000;

export class ControlPlane implements AsyncDisposable {
  readonly folder: string;
  readonly store: Store;
  readonly inventory: Inventory;
  readonly wiring: Wiring;
  readonly engine: TaskEngine;
  readonly deps: OperationDeps;
  readonly #ownsFolder: boolean;
  #isClosed = false;

  private constructor(parts: Pick<ControlPlane, "folder" | "wiring" | "engine" | "deps">, ownsFolder: boolean) {
    this.folder = parts.folder;
    this.store = parts.deps.store;
    this.inventory = parts.deps.inventory;
    this.wiring = parts.wiring;
    this.engine = parts.engine;
    this.deps = parts.deps;
    this.#ownsFolder = ownsFolder;
  }

  /** Unfinished tasks are resumed. */
  static async open(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
    const { log = silentLogger, access, clock = systemClock, onStepBoundary } = options;
    const folder = options.folder ?? (await mkdtemp(path.join(tmpdir(), "inn-plane-")));
    const store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
    const secretBox = await openSecretBox(path.join(folder, "key"));
    const inventory = await Inventory.open(store);
    const base = { store, inventory, secretBox, claims: new ClaimTable(), clock, log };
    const wiring = wire({ ...base, config: testConfig(folder) });
    const hook = onStepBoundary === undefined ? {} : { onStepBoundary };
    const engine = new TaskEngine({ ...base, ...hook, operations: wiring.operations });
    const { providers, hostSync } = wiring;
    const deps = { store, inventory, providers, hostSync, clock, log };
    const plane = new ControlPlane({ folder, wiring, engine, deps }, options.folder === undefined);
    if (access !== undefined) await plane.#record(access, new HostCredentials(secretBox));
    await wiring.start();
    if (access !== undefined) await plane.#read();
    await engine.resume();
    return plane;
  }

  host(name: string): Host {
    return this.inventory.require("host", name);
  }

  vm(name: string): Vm {
    return this.inventory.require("vm", name);
  }

  events(type: string): Event[] {
    return this.inventory.list("event").filter((event) => event.type === type);
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

  async addHost(uri: string, tls: LabTls, more: Partial<HostAdd> = {}): Promise<Host> {
    const { hostId } = await this.succeed<{ hostId: string }>("host.add", { request: { uri, tls, ...more } });
    return this.inventory.require("host", hostId);
  }

  /** Resolves with what `look` finds, as soon as the inventory shows it; how long it took. */
  async until<T>(what: string, look: () => T | undefined, timeoutMs = 10_000): Promise<{ found: T; tookMs: number }> {
    const startMs = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const attempt = (): void => {
      const found = look();
      if (found !== undefined) resolve(found);
    };
    const stop = this.inventory.onChange(attempt);
    const timer = setTimeout(() => reject(new Error(`not seen within ${timeoutMs} ms: ${what}`)), timeoutMs);
    try {
      attempt();
      return { found: await promise, tookMs: performance.now() - startMs };
    } finally {
      clearTimeout(timer);
      stop();
    }
  }

  /** Resolves when all stored hosts are connected. */
  async connected(timeoutMs = 30_000): Promise<void> {
    const isReady = (): boolean => this.inventory.list("host").every((host) => host.connectionState === "connected");
    await this.until("all hosts connected", () => isReady() || undefined, timeoutMs).catch((cause: unknown) => {
      const states = this.inventory
        .list("host")
        .map((host) => `${host.name} ${host.connectionState}: ${host.connectionDetail}`);
      throw new Error(states.join("; "), { cause });
    });
  }

  /** A second time is fine. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.engine.stop();
    await this.wiring[Symbol.asyncDispose]();
    this.inventory[Symbol.dispose]();
    await this.store[Symbol.asyncDispose]();
    if (this.#ownsFolder) await rm(this.folder, { recursive: true, force: true });
  }

  /** As host.add does it, without its test of KVM. */
  async #record({ hosts, tls }: LabAccess, credentials: HostCredentials): Promise<void> {
    for (const { name, uri } of hosts.filter((each) => this.inventory.by("host", "name", each.name).length === 0)) {
      const id = newId("host");
      const known = { description: "", tags: [], maintenance: false, addedAt: timestamp(this.deps.clock) };
      await this.store.transaction(async (transaction) => {
        await credentials.put(transaction, id, { uri, tls });
        await transaction.put("host", { id, name, uri, ...known, connectionState: "connecting", connectionDetail: "" });
      });
    }
  }

  async #read(): Promise<void> {
    await this.connected(readyMs);
    const call = { signal: AbortSignal.timeout(readyMs) };
    for (const { id } of this.inventory.list("host")) await this.deps.hostSync.syncHost(id, call);
    // The lab's folder lies at the same path on every host.
    await this.store.transaction(async (transaction) => {
      for (const { revision: _, ...pool } of await transaction.list("storage-pool")) {
        if (pool.name === "shared") await transaction.put("storage-pool", { ...pool, shared: true });
      }
    });
  }
}

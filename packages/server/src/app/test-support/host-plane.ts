/** A control plane wired as in production (app/wire.ts) but without REST, with no hosts yet: for tests of hosts themselves. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Event } from "@innkeeper/contract/resource/event.ts";
import type { Host, HostAdd } from "@innkeeper/contract/resource/host.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { silentLogger } from "#core/log.ts";
import { openSecretBox } from "#core/secret-box.ts";
import { systemClock } from "#core/system-clock.ts";
import type { HostAddress } from "#hardware/port.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { ClaimTable } from "#management/task/claim-table.ts";
import { TaskEngine } from "#management/task/engine.ts";
import type { StepBoundary } from "#management/task/task-run.ts";
import type { Store } from "#store/port.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import type { ServerConfig } from "../config.ts";
import { wire } from "../wire.ts";
import type { Wiring } from "../wiring.ts";

type LabTls = Required<NonNullable<HostAddress["tls"]>>;

export class HostPlane implements AsyncDisposable {
  readonly folder: string;
  readonly store: Store;
  readonly inventory: Inventory;
  readonly wiring: Wiring;
  readonly engine: TaskEngine;
  readonly #ownsFolder: boolean;

  private constructor(parts: Pick<HostPlane, "folder" | "store" | "inventory" | "wiring" | "engine">, owns: boolean) {
    this.folder = parts.folder;
    this.store = parts.store;
    this.inventory = parts.inventory;
    this.wiring = parts.wiring;
    this.engine = parts.engine;
    this.#ownsFolder = owns;
  }

  /** `folder`: state that another plane left, or will find. */
  static async open(
    givenFolder?: string,
    onStepBoundary?: (boundary: StepBoundary) => void | Promise<void>,
  ): Promise<HostPlane> {
    const folder = givenFolder ?? (await mkdtemp(path.join(tmpdir(), "inn-plane-")));
    const store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
    const secretBox = await openSecretBox(path.join(folder, "key"));
    const inventory = await Inventory.open(store);
    const claims = new ClaimTable();
    const base = { store, inventory, secretBox, claims, clock: systemClock, log: silentLogger };
    const config = { stateFolder: folder, allowPlainTcp: false } as ServerConfig;
    const wiring = wire({ ...base, config });
    const hook = onStepBoundary === undefined ? {} : { onStepBoundary };
    const engine = new TaskEngine({ ...base, ...hook, operations: wiring.operations });
    await wiring.start();
    await engine.resume();
    return new HostPlane({ folder, store, inventory, wiring, engine }, givenFolder === undefined);
  }

  async run(operation: string, input: unknown): Promise<Task> {
    const task = await this.engine.submit(operation, input, { userName: "tester" });
    return this.engine.wait(task.id, 120_000);
  }

  /** Throws unless it succeeded. */
  async succeed<T = Record<string, unknown>>(operation: string, input: unknown): Promise<T> {
    const task = await this.run(operation, input);
    if (task.state !== "succeeded") throw new Error(`${operation} ${task.state}: ${JSON.stringify(task.error)}`);
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
  async connected(): Promise<void> {
    const isReady = (): boolean => this.inventory.list("host").every((host) => host.connectionState === "connected");
    await this.until("all hosts connected", () => isReady() || undefined, 30_000).catch((cause: unknown) => {
      const states = this.inventory
        .list("host")
        .map((host) => `${host.name} ${host.connectionState}: ${host.connectionDetail}`);
      throw new Error(states.join("; "), { cause });
    });
  }

  events(type: string): Event[] {
    return this.inventory.list("event").filter((event) => event.type === type);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.stop();
    await this.wiring[Symbol.asyncDispose]();
    this.inventory[Symbol.dispose]();
    await this.store[Symbol.asyncDispose]();
    if (this.#ownsFolder) await rm(this.folder, { recursive: true, force: true });
  }
}

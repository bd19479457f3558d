/** Several control planes, each a process of its own, on one PostgreSQL: for tests that kill, stop and cut them off. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { stateLayout } from "#core/state-layout.ts";
import { systemClock } from "#core/system-clock.ts";
import type { PostgresServer } from "#store/postgres/test-support/postgres-server.ts";

export const adminPassword = "correct horse battery staple";
const child = path.join(import.meta.dirname, "shared-plane.child.ts");
const startTimeoutMs = 60_000;
const lookMs = 40;

export interface SharedPlanesOptions {
  readonly postgres: PostgresServer;
  readonly count: number;
  readonly takeoverMs: number;
  /** How long each step of a task lasts. */
  readonly stepMs?: number;
  /** Of the store, as the process of this number, from 0, sees it; default: the database itself. */
  readonly url?: (database: string, index: number) => string;
}

export interface StepNote {
  readonly taskId: string;
  readonly step: string;
  readonly what: "begin" | "end";
  readonly repeated?: boolean;
  readonly pid: number;
}

export interface Lease {
  readonly token: number;
  readonly pid: number;
}

export class PlaneProcess {
  readonly folder: string;
  process: ChildProcess | undefined;
  url = "";

  constructor(folder: string) {
    this.folder = folder;
  }

  get pid(): number {
    return this.process?.pid ?? 0;
  }

  /** Up and not killed. */
  get isUp(): boolean {
    return this.url !== "";
  }
}

export class SharedPlanes implements AsyncDisposable {
  readonly all: readonly PlaneProcess[];
  token = "";
  readonly #options: SharedPlanesOptions;
  readonly #folder: string;
  readonly #database: string;

  private constructor(options: SharedPlanesOptions, folder: string, database: string) {
    this.#options = options;
    this.#folder = folder;
    this.#database = database;
    this.all = Array.from({ length: options.count }, (_, index) => new PlaneProcess(path.join(folder, `${index + 1}`)));
  }

  /** All up, one of them leads, the administrator is logged in. */
  static async start(options: SharedPlanesOptions): Promise<SharedPlanes> {
    const folder = await mkdtemp(path.join(tmpdir(), "inn-planes-"));
    const database = new URL(await options.postgres.database()).pathname.slice(1);
    const planes = new SharedPlanes(options, folder, database);
    try {
      const [first, ...others] = planes.all;
      if (first === undefined) throw new Error("there must be one at least");
      await planes.start(first);
      for (const other of others) {
        await mkdir(other.folder, { recursive: true });
        await copyFile(stateLayout(first.folder).key, stateLayout(other.folder).key);
      }
      await Promise.all(others.map((other) => planes.start(other)));
      const login = { name: "admin", password: adminPassword };
      const session = await planes.call<{ secret: string }>(first, "POST", "/login", { body: login });
      planes.token = session.secret;
      return planes;
    } catch (error) {
      await planes[Symbol.asyncDispose]();
      throw error;
    }
  }

  get up(): PlaneProcess[] {
    return this.all.filter((plane) => plane.isUp);
  }

  async start(plane: PlaneProcess): Promise<void> {
    const { postgres, takeoverMs, stepMs = 20, url } = this.#options;
    const store = url?.(this.#database, this.all.indexOf(plane)) ?? postgres.url(this.#database);
    const argv = [child, plane.folder, store, String(takeoverMs), this.#trail, String(stepMs)];
    await mkdir(plane.folder, { recursive: true });
    const running = spawn(process.execPath, argv, {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, NODE_COMPILE_CACHE: path.join(this.#folder, "compile-cache") },
    });
    plane.process = running;
    const signal = AbortSignal.timeout(startTimeoutMs);
    const printed = await Promise.race([
      once(running.stdout, "data", { signal }).then(([data]) => String(data)),
      once(running, "exit").then(([code]) => Promise.reject(new Error(`a control plane ended with ${code}`))),
    ]);
    plane.url = /^up (\S+)/.exec(printed)?.[1] ?? "";
  }

  async kill(plane: PlaneProcess, signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const running = plane.process;
    plane.url = "";
    plane.process = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, "exit");
    running.kill(signal);
    await ended;
  }

  /** The answer's JSON; throws unless it is a success. */
  async call<T>(
    plane: PlaneProcess,
    method: string,
    where: string,
    request: { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>>; timeoutMs?: number } = {},
  ): Promise<T> {
    const { status, body } = await this.ask(plane, method, where, request);
    if (status < 300) return body as T;
    throw new Error(`${method} ${where}: ${status} ${JSON.stringify(body)}`);
  }

  async ask(
    plane: PlaneProcess,
    method: string,
    where: string,
    request: { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>>; timeoutMs?: number } = {},
  ): Promise<{ readonly status: number; readonly body: unknown }> {
    const { body, headers = {}, timeoutMs = 20_000 } = request;
    const response = await fetch(`${plane.url}/api/v1${where}`, {
      method,
      headers: {
        ...(this.token === "" ? {} : { authorization: `Bearer ${this.token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  }

  /** Past all processes, in the database itself. */
  sql<Row extends object>(statement: string): Promise<Row[]> {
    return this.#options.postgres.ask<Row>(statement, this.#database);
  }

  /** As the database has it. */
  async lease(): Promise<Lease> {
    const [row] = await this.sql<{ token: string; holder: string | null }>("select token, holder from innkeeper.lease");
    return { token: Number(row?.token ?? 0), pid: Number(row?.holder?.split(":").at(-2) ?? 0) };
  }

  /** The process that leads and does its work, once there is one with a token above `after`. */
  async leader(after = 0, timeoutMs = 10_000): Promise<{ readonly plane: PlaneProcess; readonly lease: Lease }> {
    const signal = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const lease = await this.lease();
      const plane = this.up.find(({ pid }) => pid === lease.pid);
      if (plane !== undefined && lease.token > after && (await this.#leads(plane))) return { plane, lease };
      await systemClock.sleep(lookMs, signal);
    }
  }

  async notes(): Promise<StepNote[]> {
    const text = await readFile(this.#trail, "utf8").catch(() => "");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as StepNote);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.map((plane) => this.kill(plane)));
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #trail(): string {
    return path.join(this.#folder, "steps");
  }

  async #leads(plane: PlaneProcess): Promise<boolean> {
    const system = this.call<{ role: string }>(plane, "GET", "/system", { timeoutMs: 2000 });
    return system.then(({ role }) => role === "leader").catch(() => false);
  }
}

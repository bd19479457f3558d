/**
 * A real PostgreSQL of a test's own, of Debian's package: in a folder that is removed, on a free port of loopback and a
 * Unix socket, run by an unprivileged user, ended with the test's process however that ends. It can be stopped, killed,
 * frozen and started again.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { appendFile, chown, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import pg from "pg";

const run = promisify(execFile);
const startTimeoutMs = 60_000;
const lookMs = 50;

interface PostgresServerOptions {
  /** Where its folder is made. */
  readonly parent?: string;
  /** Lines of postgresql.conf. */
  readonly settings?: readonly string[];
}

const settings = [
  "listen_addresses = '127.0.0.1'",
  // A crash of this machine is not what is tested.
  "fsync = off",
  "shared_buffers = 32MB",
  "max_connections = 60",
  "log_min_messages = fatal",
];

export class PostgresServer implements AsyncDisposable {
  readonly folder: string;
  readonly port: number;
  readonly #programs: string;
  #process: ChildProcess | undefined;
  #databases = 0;

  private constructor(folder: string, port: number, programs: string) {
    this.folder = folder;
    this.port = port;
    this.#programs = programs;
  }

  static async start({ parent, settings = [] }: PostgresServerOptions = {}): Promise<PostgresServer> {
    const programs = globSync("/usr/lib/postgresql/*/bin").toSorted().at(-1);
    if (programs === undefined) throw new Error("there is no PostgreSQL here: apt-get install postgresql");
    // What only root may look into, as a test's own folder is, the server's user may not.
    const folder = await mkdtemp(path.join(parent ?? (isRoot() ? "/var/tmp" : tmpdir()), "inn-postgres-"));
    const server = new PostgresServer(folder, await freePort(), programs);
    try {
      await server.#make(settings);
      await server.start();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A new database; by the Unix socket, as its owner, without a password. */
  async database(): Promise<string> {
    const name = `store${++this.#databases}`;
    await this.ask(`create database ${name} template template0 encoding 'UTF8'`);
    return this.url(name);
  }

  url(database: string): string {
    return `postgres://postgres@localhost:${this.port}/${database}?host=${this.folder}`;
  }

  /** The same by TCP, where a password is asked for. */
  tcpUrl(database: string, password: string, port = this.port): string {
    return `postgres://postgres:${password}@127.0.0.1:${port}/${database}`;
  }

  async ask<Row extends object>(statement: string, database = "postgres"): Promise<Row[]> {
    const client = new pg.Client({ host: this.folder, port: this.port, user: "postgres", database });
    // The server may end meanwhile: the query says so.
    client.on("error", () => undefined);
    await client.connect();
    try {
      return (await client.query<Row>(statement)).rows;
    } finally {
      await client.end();
    }
  }

  async start(): Promise<void> {
    const child = this.#spawn("postgres", ["-D", this.folder, "-k", this.folder, "-p", String(this.port)]);
    this.#process = child;
    const deadline = performance.now() + startTimeoutMs;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`PostgreSQL did not start: it ended with ${child.exitCode}`);
      try {
        await this.ask("select 1");
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, lookMs));
      }
    }
  }

  /** SIGINT: connections are ended; SIGQUIT: as a crash. https://www.postgresql.org/docs/15/server-shutdown.html */
  async stop(signal: "SIGINT" | "SIGQUIT" = "SIGINT"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  /** Whether it still runs or has given up. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGQUIT");
    await rm(this.folder, { recursive: true, force: true });
  }

  async #make(more: readonly string[]): Promise<void> {
    if (isRoot()) {
      const { stdout } = await run("id", ["-u", "postgres"]);
      const group = await run("id", ["-g", "postgres"]);
      await chown(this.folder, Number(stdout), Number(group.stdout));
    }
    const child = this.#spawn("initdb", [
      "-D",
      this.folder,
      "-U",
      "postgres",
      "-E",
      "UTF8",
      "--locale=C.UTF-8",
      "--no-sync",
      "--auth-local=trust",
      "--auth-host=scram-sha-256",
    ]);
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`initdb ended with ${code}`);
    await appendFile(path.join(this.folder, "postgresql.conf"), `${[...settings, ...more].join("\n")}\n`);
  }

  #spawn(program: string, argv: readonly string[]): ChildProcess {
    const file = path.join(this.#programs, program);
    const user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
    const dying = ["--pdeathsig=KILL", "--", file, ...argv];
    return spawn("setpriv", isRoot() ? [...user, ...dying] : dying, {
      cwd: this.folder,
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, PGOPTIONS: "", LC_ALL: "C.UTF-8" },
    });
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

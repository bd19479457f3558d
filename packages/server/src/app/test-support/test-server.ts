/** A whole control plane in this process, on a state folder of its own and a port that is free, without hosts: for tests. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Role } from "@innkeeper/contract/privilege.ts";
import type { Clock } from "#core/clock.ts";
import { type Logger, silentLogger } from "#core/log.ts";
import type { ServerConfig } from "../config.ts";
import { startServer } from "../server.ts";
import { wire } from "../wire.ts";
import type { Wiring } from "../wiring.ts";
import { testConfig } from "./test-config.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed where it is JSON. */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface CallOptions {
  readonly token?: string;
  /** Sent as JSON; a Buffer or string as it is. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  /** Of the administrator. */
  readonly token: string;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** As the administrator. */
  admin(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** A new user of this role, logged in: his token. */
  login(role: Role): Promise<string>;
  /** Stops it and starts it again, at the same address, on the same state, to which something may happen in between. */
  restart(between?: (stateFolder: string) => Promise<void>): Promise<void>;
}

const adminPassword = "correct horse battery staple";

interface TestServerOptions {
  /** Replaces parts of the wiring: operations by name, services. */
  readonly replace?: (wiring: Wiring) => Partial<Wiring>;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly config?: Partial<ServerConfig>;
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-server-"));
  const config = testConfig(folder, { adminPassword, ...options.config });
  const start = (listenPort = config.listenPort) =>
    startServer(
      { ...config, listenPort },
      {
        log: options.log ?? silentLogger,
        ...(options.clock === undefined ? {} : { clock: options.clock }),
        wire: (base) => {
          const wiring = wire(base);
          return { ...wiring, ...options.replace?.(wiring) };
        },
      },
    );
  let server = await start();
  let token = "";
  let users = 0;
  const call = async (method: string, where: string, request: CallOptions = {}): Promise<Answer> => {
    const { body } = request;
    const isRaw = typeof body === "string" || body instanceof Uint8Array;
    const response = await fetch(new URL(`/api/v1${where}`, server.url), {
      method,
      headers: {
        ...(request.token === undefined ? {} : { authorization: `Bearer ${request.token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...request.headers,
      },
      ...(body === undefined ? {} : { body: isRaw ? (body as string) : JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get("content-type") ?? "") && text !== "";
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : { text } };
  };
  const loginAs = async (name: string, password: string): Promise<string> => {
    const answer = await call("POST", "/login", { body: { name, password } });
    if (answer.status !== 200) throw new Error(`login failed: ${JSON.stringify(answer.body)}`);
    return String(answer.body["secret"]);
  };
  token = await loginAs("admin", adminPassword);
  return {
    get url() {
      return server.url;
    },
    get token() {
      return token;
    },
    call,
    admin: (method, where, body, headers = {}) => call(method, where, { token, body, headers }),
    async login(role) {
      const name = `user${++users}`;
      await call("POST", "/users", { token, body: { name, password: adminPassword, role } });
      return loginAs(name, adminPassword);
    },
    async restart(between) {
      const { url } = server;
      await server.close();
      await between?.(folder);
      server = await start(Number(new URL(url).port));
      if ((await call("GET", "/me", { token })).status !== 200) token = await loginAs("admin", adminPassword);
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      await rm(folder, { recursive: true });
    },
  };
}

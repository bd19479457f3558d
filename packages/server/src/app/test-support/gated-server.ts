/** A whole control plane whose `pool.create` waits at its first step until it is let go: for tests of what a disk that fills up does to tasks. */
import { Type } from "typebox";
import { silentLogger } from "#core/log.ts";
import { operation } from "#management/task/operation.ts";
import type { ServerConfig } from "../config.ts";
import { startServer } from "../server.ts";
import { wire } from "../wire.ts";
import { testConfig } from "./test-config.ts";

export const adminPassword = "correct horse";

export interface GatedAnswer {
  readonly status: number;
  readonly bytes: Buffer;
  /** Empty where it is none. */
  readonly json: Readonly<Record<string, unknown>>;
}

export interface GatedServer extends AsyncDisposable {
  readonly url: string;
  /** Of the administrator. */
  readonly token: string;
  readonly letGo: () => void;
  /** As the administrator. */
  call(method: string, where: string, body?: object): Promise<GatedAnswer>;
  /** A new user of this name; a long one takes room. */
  newUser(name: string, fullName?: string): Promise<GatedAnswer>;
  /** The id of a task that waits. */
  beginTask(): Promise<string>;
}

export async function startGatedServer(stateFolder: string, change: Partial<ServerConfig> = {}): Promise<GatedServer> {
  const gate = Promise.withResolvers<void>();
  const gated = operation({
    name: "pool.create",
    input: Type.Unknown(),
    claims: () => ({ exclusive: ["gated"] }),
    target: () => undefined,
    steps: [
      { name: "wait", do: () => gate.promise },
      { name: "end", do: async () => {} },
    ],
  });
  const server = await startServer(testConfig(stateFolder, { adminPassword, ...change }), {
    log: silentLogger,
    wire: (base) => {
      const wiring = wire(base);
      return { ...wiring, operations: [...wiring.operations.filter(({ name }) => name !== gated.name), gated] };
    },
  });
  let token = "";
  const call = async (method: string, where: string, body?: object): Promise<GatedAnswer> => {
    const response = await fetch(`${server.url}/api/v1${where}`, {
      method,
      headers: {
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const isJson = response.headers.get("content-type")?.includes("json") === true;
    const json = (isJson ? JSON.parse(bytes.toString()) : {}) as Record<string, unknown>;
    return { status: response.status, bytes, json };
  };
  token = String((await call("POST", "/login", { name: "admin", password: adminPassword })).json["secret"]);
  return {
    url: server.url,
    token,
    letGo: () => gate.resolve(),
    call,
    newUser: (name, fullName = "") =>
      call("POST", "/users", { name, password: adminPassword, role: "operator", fullName }),
    beginTask: async () => {
      const task = await call("POST", "/pools", { host: "h1", name: "p", type: "dir", path: "/p" });
      if (task.status !== 202) throw new Error(task.bytes.toString());
      return String(task.json["id"]);
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
}

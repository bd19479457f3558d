/** The control plane as users run it: a process of its own, spoken to over HTTP. It can be killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import type { Task } from "@innkeeper/contract/resource/task.ts";

const main = path.resolve(import.meta.dirname, "../main.ts");
const startTimeoutMs = 30_000;

export class ServerProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly url: string;
  /** Of the first start on a state folder. */
  readonly firstPassword: string | undefined;
  #token = "";

  private constructor(child: ChildProcess, url: string, firstPassword: string | undefined) {
    this.#child = child;
    this.url = url;
    this.firstPassword = firstPassword;
  }

  static async start(stateFolder: string, environment: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
    const argv = [
      main,
      "--state",
      stateFolder,
      "--no-local",
      "--no-tls",
      "--listen",
      "127.0.0.1:0",
      "--log-level",
      "warn",
    ];
    const child = spawn(process.execPath, argv, {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, ...environment },
    });
    const printed: string[] = [];
    const url = await new Promise<string | undefined>((resolve) => {
      const timer = setTimeout(() => child.kill("SIGKILL"), startTimeoutMs);
      // What it prints comes in one piece: the address, and at the first start the password.
      child.stdout?.setEncoding("utf8").on("data", (text: string) => {
        printed.push(text);
        clearTimeout(timer);
        resolve(/^Innkeeper is up: (\S+)$/m.exec(printed.join(""))?.[1]);
      });
      child.once("exit", () => resolve(undefined));
    });
    if (url === undefined) throw new Error(`the control plane did not start: ${printed.join("")}`);
    const password = /^Password \(shown this once\): (\S+)$/m.exec(printed.join(""))?.[1];
    return new ServerProcess(child, url, password);
  }

  async login(password: string): Promise<void> {
    const session = await this.call<{ secret: string }>("POST", "/login", { name: "admin", password });
    this.#token = session.secret;
  }

  get token(): string {
    return this.#token;
  }

  set token(token: string) {
    this.#token = token;
  }

  /** The answer's JSON; throws with the problem unless it is a success. */
  async call<T>(method: string, where: string, body?: unknown): Promise<T> {
    const response = await fetch(`${this.url}/api/v1${where}`, {
      method,
      headers: {
        ...(this.#token === "" ? {} : { authorization: `Bearer ${this.#token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(90_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${where}: ${response.status} ${text}`);
    return JSON.parse(text === "" ? "null" : text) as T;
  }

  /** Submits and waits for the end; throws unless it succeeded. */
  async succeed(method: string, where: string, body?: unknown): Promise<Task> {
    const separator = where.includes("?") ? "&" : "?";
    const task = await this.call<Task>(method, `${where}${separator}waitMs=60000`, body);
    if (task.state !== "succeeded") throw new Error(`${where}: ${task.state} ${JSON.stringify(task.error)}`);
    return task;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The exit code, or the signal that killed it. */
  get exited(): Promise<number | string | null> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return Promise.resolve(exitCode ?? signalCode);
    return once(this.#child, "exit").then(([code, signal]: unknown[]) => (code ?? signal) as number | string | null);
  }

  end(signal: "SIGTERM" | "SIGKILL"): Promise<number | string | null> {
    const { exited } = this;
    this.#child.kill(signal);
    return exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
  }
}

/**
 * The demo's control plane: `inn up` as a process of its own that outlives this one. Invariant: from the moment it runs, its
 * record says how to find it; a process is only ended if it is still the one that the record names.
 */
import { spawn } from "node:child_process";
import { openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ApiClient, type Connection } from "#client.ts";
import { CliError } from "#cli-error.ts";
import { defaultServerUrl } from "#config.ts";
import type { DemoLayout } from "#program/demo/layout.ts";
import { localTrust } from "#trust.ts";

interface ServerRecord {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat (proc(5)): with the pid it names one process for ever. */
  readonly startTime: string;
  readonly url: string;
}

const readyTimeoutMs = 30_000;
const stopTimeoutMs = 15_000;
const mainScript = path.resolve(import.meta.dirname, "../../main.ts");

/** Starts it, detached, and resolves when it answers. `passwordFile` holds the first administrator's password. */
export async function startServer(
  layout: DemoLayout,
  passwordFile: string,
  signal: AbortSignal,
): Promise<ServerRecord> {
  const port = await freePort(Number(new URL(defaultServerUrl).port));
  const url = `https://127.0.0.1:${port}`;
  const log = openSync(layout.serverLog, "a", 0o600);
  const argv = [
    "up",
    "--no-local",
    "--state",
    layout.serverFolder,
    "--listen",
    `127.0.0.1:${port}`,
    "--admin-password-file",
    passwordFile,
  ];
  const child = spawn(process.execPath, [mainScript, ...argv], {
    detached: true,
    stdio: ["ignore", log, log],
    cwd: "/",
  });
  let ended: string | undefined;
  child.once("error", (error) => (ended = error.message));
  child.once("exit", (code, signalName) => (ended = `it ended with ${code ?? signalName}`));
  child.unref();
  const record: ServerRecord = { pid: child.pid ?? 0, startTime: startTimeOf(child.pid ?? 0) ?? "", url };
  writeFileSync(layout.serverRecord, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  const deadlineMs = performance.now() + readyTimeoutMs;
  for (;;) {
    if (ended !== undefined) throw new Error(`the control plane did not start: ${ended}\n${logTail(layout)}`);
    try {
      using api = new ApiClient(connectionTo(layout, url), signal);
      await api.call("systemHealth", { timeoutMs: 5000 });
      return record;
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      if (performance.now() > deadlineMs)
        throw new Error(`the control plane does not answer: ${error.message}`, { cause: error });
    }
    await delay(25, undefined, { signal });
  }
}

/** Trusts the certificate that this control plane made for itself; before it has made it, none. */
export function connectionTo(layout: DemoLayout, url: string, token?: string): Connection {
  const server = new URL(url);
  return { server, token, caCertificate: localTrust(server, { INN_STATE: layout.serverFolder }) };
}

/** Ends the recorded process, if it still runs. True if it did. */
export async function stopServer(layout: DemoLayout): Promise<boolean> {
  const record = readRecord(layout);
  if (record === undefined || !isRunning(record)) return false;
  process.kill(record.pid, "SIGTERM");
  const deadlineMs = performance.now() + stopTimeoutMs;
  while (isRunning(record)) {
    if (performance.now() > deadlineMs) process.kill(record.pid, "SIGKILL");
    await delay(25);
  }
  rmSync(layout.serverRecord, { force: true });
  return true;
}

export function readRecord(layout: DemoLayout): ServerRecord | undefined {
  try {
    return JSON.parse(readFileSync(layout.serverRecord, "utf8")) as ServerRecord;
  } catch {
    return undefined;
  }
}

export function isRunning(record: ServerRecord): boolean {
  return record.pid > 1 && startTimeOf(record.pid) === record.startTime;
}

/** undefined for a process that is gone, or dead and not yet waited for (state Z, proc(5)). */
function startTimeOf(pid: number): string | undefined {
  try {
    // The second field is the program's name in parentheses and may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** The last lines of the control plane's log. */
function logTail(layout: DemoLayout, lines = 5): string {
  try {
    return readFileSync(layout.serverLog, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  } catch {
    return "";
  }
}

/** The wished port if nothing listens there, else one that the system chooses. */
async function freePort(wish: number): Promise<number> {
  for (const port of [wish, 0]) {
    const server = createServer();
    const found = await new Promise<number | undefined>((resolve) => {
      server.once("error", () => resolve(undefined));
      server.listen(port, "127.0.0.1", () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : undefined);
      });
    });
    if (found !== undefined) {
      await new Promise((resolve) => server.close(resolve));
      return found;
    }
  }
  throw new Error("no TCP port of 127.0.0.1 is free");
}

/**
 * Which server the CLI talks to, and as whom. One file, $XDG_CONFIG_HOME/innkeeper/config.json (mode 0600), keeps servers by
 * name; `--server` and INN_SERVER take a name of it or a URL, INN_TOKEN a token, INN_CA_FILE what certificate to trust. Writes replace the file in one step, so
 * two commands at once never leave half of it. Facts: XDG Base Directory Specification 0.8.
 */
import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import type { Connection } from "#client.ts";
import { CliError, usageError } from "#cli-error.ts";
import { isLoopback, localTrust } from "#trust.ts";

export interface SavedServer {
  readonly url: string;
  readonly user?: string;
  readonly token?: string;
  /** RFC 3339; when the session ends. */
  readonly expiresAt?: string;
  /** PEM of what was pinned: an authority's certificate, or the server's own (trust.ts). */
  readonly caCertificate?: string;
}

export interface Config {
  /** Name of the server that is used unless one is named. */
  readonly current?: string;
  readonly servers: Readonly<Record<string, SavedServer>>;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where `inn up` listens unless told. */
export const defaultServerUrl = "https://127.0.0.1:7480";

export function configFile(environment: Environment): string {
  const folder = environment["XDG_CONFIG_HOME"];
  // The specification: a relative path is invalid and to be ignored.
  const base = folder !== undefined && path.isAbsolute(folder) ? folder : path.join(homedir(), ".config");
  return path.join(base, "innkeeper", "config.json");
}

export function readConfig(file: string): Config {
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return { servers: {} };
    throw new CliError(`${file} can't be read: ${String(error)}`, { exitCode: 78, cause: error }); // EX_CONFIG
  }
  try {
    const document = JSON.parse(content) as Partial<Config>;
    return { ...document, servers: document.servers ?? {} };
  } catch (error) {
    throw new CliError(`${file} is no valid JSON: ${String(error)}`, {
      exitCode: 78, // EX_CONFIG, sysexits.h
      remedy: "Correct or remove the file, then log in again with `inn login`.",
      cause: error,
    });
  }
}

/** Reads, changes and replaces the file. An empty configuration leaves no file behind. */
export function changeConfig(file: string, change: (config: Config) => Config): void {
  const config = change(readConfig(file));
  if (Object.keys(config.servers).length === 0) {
    rmSync(file, { force: true });
    removeIfEmpty(path.dirname(file));
    return;
  }
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(temporary, file);
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // It holds something, or was never there.
  }
}

export function withServer(config: Config, name: string, server: SavedServer, makeCurrent: boolean): Config {
  return { ...config, ...(makeCurrent ? { current: name } : {}), servers: { ...config.servers, [name]: server } };
}

export function withoutServer(config: Config, name: string): Config {
  const { [name]: _removed, ...servers } = config.servers;
  const { current, ...rest } = config;
  return { ...rest, ...(current === undefined || current === name ? {} : { current }), servers };
}

/** A server's URL as the user may type it: the scheme may be missing (https then). Plain HTTP is for this machine alone. */
export function serverUrl(text: string): URL {
  const complete = /^https?:\/\//.test(text) ? text : `https://${text}`;
  const url = URL.parse(complete);
  if (url === null || url.hostname === "") throw usageError(`"${text}" is no server: neither a saved name nor a URL`);
  if (url.protocol === "http:" && !isLoopback(url)) {
    throw usageError(`${url.origin}: passwords and tokens would go over the network in the clear`, "Use https://.");
  }
  url.search = "";
  url.hash = "";
  return url;
}

export interface ChosenServer {
  /** undefined: not from the file. */
  readonly name: string | undefined;
  readonly connection: Connection;
  readonly user: string | undefined;
}

/** `named` is `--server`; it wins over INN_SERVER, which wins over the file's current one. */
export function chooseServer(config: Config, named: string | undefined, environment: Environment): ChosenServer {
  const wish = named ?? nonEmpty(environment["INN_SERVER"]) ?? config.current;
  const token = nonEmpty(environment["INN_TOKEN"]);
  const saved = wish === undefined ? undefined : savedServer(config, wish);
  if (saved !== undefined) {
    const [name, { url, user, ...server }] = saved;
    const caCertificate = server.caCertificate ?? unsavedTrust(serverUrl(url), environment);
    return { name, connection: { server: serverUrl(url), token: token ?? server.token, caCertificate }, user };
  }
  const url = serverUrl(wish ?? defaultServerUrl);
  const caCertificate = unsavedTrust(url, environment);
  return { name: undefined, connection: { server: url, token, caCertificate }, user: undefined };
}

/** Of INN_CA_FILE, or of the control plane on this machine. */
export function unsavedTrust(server: URL, environment: Environment): string | undefined {
  const file = nonEmpty(environment["INN_CA_FILE"]);
  if (file === undefined) return localTrust(server, environment);
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new CliError(`INN_CA_FILE: ${file} can't be read: ${String(error)}`, { exitCode: 78, cause: error }); // EX_CONFIG
  }
}

/** By name, or by its URL. */
function savedServer(config: Config, wish: string): [string, SavedServer] | undefined {
  const byName = config.servers[wish];
  if (byName !== undefined) return [wish, byName];
  const url = URL.parse(/^https?:\/\//.test(wish) ? wish : "");
  if (url === null) return undefined;
  return Object.entries(config.servers).find(([, server]) => serverUrl(server.url).href === url.href);
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

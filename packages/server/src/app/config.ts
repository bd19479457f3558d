/** How the control plane is started: flags, else environment (`INN_STATE` for `--state` …), else defaults. Refusals name the flag. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import path from "node:path";
import { parseArgs } from "node:util";
import { stateLayout } from "#core/state-layout.ts";
import { isHostName } from "#core/x509-certificate.ts";
import type { AutomaticBackupOptions } from "#management/backup/automatic-backup.ts";
import { defaultTakeoverMs, isPostgresUrl } from "#store/postgres/address.ts";
import type { StoreUrl } from "./state/store-location.ts";

const logLevels = ["debug", "info", "warn", "error"] as const;
type LogLevel = (typeof logLevels)[number];

/** Where the API's certificate comes from. */
export type TlsConfig =
  /** The built-in authority; `names`: further ones by which clients reach this machine. */
  | { readonly kind: "built-in"; readonly names: readonly string[] }
  /** Paths of PEM files; read again when they change. */
  | { readonly kind: "files"; readonly cert: string; readonly key: string }
  /** Plain HTTP, on loopback alone. */
  | { readonly kind: "off" };

export interface ServerConfig {
  /** Where the store, the key file and the certificate authority are. */
  readonly stateFolder: string;
  /** A PostgreSQL that other processes may share; absent: a file in the state folder. */
  readonly store?: StoreUrl;
  /** Where the other processes reach this one; default: by this machine's name. */
  readonly advertisedUrl?: string;
  /** How long a leader is silent before another takes over. */
  readonly takeoverMs?: number;
  readonly listenAddress: string;
  /** 0: one that is free. */
  readonly listenPort: number;
  readonly logLevel: LogLevel;
  /** Manages this machine's own libvirtd, if it runs. Absent: it is added at the first start, and may be removed for good. */
  readonly local?: boolean;
  /** The first administrator's password; default: a random one. */
  readonly adminPassword?: string;
  /** Gives `admin` a new password and the administrator's role, for who is locked out. */
  readonly resetAdmin: boolean;
  readonly tls: TlsConfig;
  /** A proxy on this machine tells whose request it is (X-Forwarded-For). */
  readonly trustProxy?: boolean;
  /** libvirt over plain TCP to other machines: for laboratories. */
  readonly allowPlainTcp: boolean;
  /** The daily backups; absent: none are made. */
  readonly backup?: AutomaticBackupOptions;
  /** Test facility: see crash-point.ts. */
  readonly crashAt?: string;
}

/** A flag that can't be used; the message names it. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

export const defaultPort = 7480;

const defaultBackupKeep = 7;

export const usage = `Usage: inn up [flags]

  --state FOLDER               where the state is kept (default /var/lib/innkeeper)
  --store URL                  postgres://USER@HOST/DATABASE instead of a file in the state folder: several control planes
                               may share it, one leads, the others take over; see docs/high-availability.md
  --store-password-file FILE   the database's password, instead of one in the URL, PGPASSWORD or ~/.pgpass
  --advertise-url URL          where the other control planes reach this one (default: by this machine's name)
  --takeover-seconds N         a leader that is silent for so long is followed by another (default ${defaultTakeoverMs / 1000}; 1 to 60)
  --listen ADDRESS:PORT        where the API is (default 127.0.0.1:${defaultPort})
  --tls-cert FILE              PEM certificate (chain) of the API, instead of one of the built-in authority;
                               read again when the file changes, or on SIGHUP
  --tls-key FILE               its key
  --tls-name NAME[,NAME]       names or addresses that clients use besides this machine's own, for the built-in certificate
  --no-tls                     plain HTTP, on loopback only: for a proxy on this machine that speaks TLS
  --trust-proxy                believe X-Forwarded-For of a proxy on this machine: limits and audit are by its clients
  --no-local                   do not add this machine's own libvirtd (qemu:///system), which the first start does if it runs
  --local                      add it now
  --admin-password-file FILE   the first administrator's password, instead of a random one
  --reset-admin                locked out? give admin a new password, and print it
  --backup-keep N              so many daily backups of the state are kept (default ${defaultBackupKeep}; 0: none are made)
  --backup-folder FOLDER       where (default: backup in the state folder)
  --backup-password-file FILE  encrypts them with this password and puts the key file in: to be restored on another machine
  --allow-plain-tcp            hosts by qemu+tcp:// on other machines, too: for laboratories
  --log-level LEVEL            ${logLevels.join(", ")} (default info)

Each can be given in the environment: INN_STATE, INN_LISTEN, INN_TLS_CERT …`;

const options = {
  state: { type: "string" },
  store: { type: "string" },
  "store-password-file": { type: "string" },
  "advertise-url": { type: "string" },
  "takeover-seconds": { type: "string" },
  listen: { type: "string" },
  "tls-cert": { type: "string" },
  "tls-key": { type: "string" },
  "tls-name": { type: "string" },
  tls: { type: "boolean" },
  "trust-proxy": { type: "boolean" },
  local: { type: "boolean" },
  "admin-password-file": { type: "string" },
  "reset-admin": { type: "boolean" },
  "backup-keep": { type: "string" },
  "backup-folder": { type: "string" },
  "backup-password-file": { type: "string" },
  "log-level": { type: "string" },
  "allow-plain-tcp": { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

type TextFlag =
  | "state"
  | "store"
  | "store-password-file"
  | "advertise-url"
  | "takeover-seconds"
  | "listen"
  | "tls-cert"
  | "tls-key"
  | "tls-name"
  | "admin-password-file"
  | "backup-keep"
  | "backup-folder"
  | "backup-password-file"
  | "log-level";

export function readConfig(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): ServerConfig | "help" {
  const values = parse(argv);
  if (values.help === true) return "help";
  const text = (flag: TextFlag) => values[flag] ?? environment[variable(flag)];
  const isOn = (flag: "local" | "tls" | "trust-proxy" | "allow-plain-tcp") =>
    values[flag] ?? environmentFlag(environment[variable(flag)]);
  const { address, port } = readListen(text("listen") ?? `127.0.0.1:${defaultPort}`);
  const tls = readTls({
    cert: text("tls-cert"),
    key: text("tls-key"),
    names: text("tls-name"),
    isOff: isOn("tls") === false,
  });
  if (tls.kind === "off" && !isLoopback(address)) {
    throw new ConfigError(
      `--no-tls with --listen ${address}: passwords would go over the network in the clear; only loopback is allowed`,
    );
  }
  const passwordFile = text("admin-password-file");
  const local = isOn("local");
  const crashAt = environment["INN_CRASH_AT"];
  if (local === true && text("store") !== undefined) {
    throw new ConfigError("--local goes without --store: add this machine by a name that all control planes reach");
  }
  const stateFolder = text("state") ?? "/var/lib/innkeeper";
  return {
    stateFolder,
    ...readStore(text),
    listenAddress: address,
    listenPort: port,
    tls,
    ...(isOn("trust-proxy") === true ? { trustProxy: true } : {}),
    logLevel: readLogLevel(text("log-level") ?? "info"),
    allowPlainTcp: isOn("allow-plain-tcp") ?? false,
    resetAdmin: values["reset-admin"] === true,
    backup: readBackup(stateFolder, text),
    ...(local === undefined ? {} : { local }),
    ...(passwordFile === undefined ? {} : { adminPassword: readPassword("--admin-password-file", passwordFile) }),
    ...(crashAt === undefined ? {} : { crashAt }),
  };
}

function readStore(text: (flag: TextFlag) => string | undefined) {
  const [url, passwordFile, advertisedUrl] = [text("store"), text("store-password-file"), text("advertise-url")];
  const seconds = text("takeover-seconds");
  if (url === undefined) {
    const lonely = ["store-password-file", "advertise-url", "takeover-seconds"] as const;
    const flag = lonely.find((each) => text(each) !== undefined);
    if (flag === undefined) return {};
    throw new ConfigError(`--${flag} goes with --store postgres://…`);
  }
  // Never told back: it may hold a password.
  if (!isPostgresUrl(url)) throw new ConfigError("--store: must be postgres://USER@HOST/DATABASE");
  if (seconds !== undefined && !/^([1-9]|[1-5]\d|60)$/.test(seconds)) {
    throw new ConfigError(`--takeover-seconds ${seconds}: must be a number from 1 to 60`);
  }
  const password = passwordFile === undefined ? undefined : readFile("--store-password-file", passwordFile).trimEnd();
  return {
    store: { url, ...(password === undefined ? {} : { password }) },
    ...(advertisedUrl === undefined ? {} : { advertisedUrl: readAdvertised(advertisedUrl) }),
    ...(seconds === undefined ? {} : { takeoverMs: Number(seconds) * 1000 }),
  };
}

function readAdvertised(text: string): string {
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.pathname === "/" && url.search === "") return url.origin;
  throw new ConfigError(`--advertise-url ${text}: must be https://HOST:PORT`);
}

function environmentFlag(value: string | undefined): boolean | undefined {
  return value === undefined || value === "" ? undefined : value === "1";
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false, allowNegative: true }).values;
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  }
}

function variable(flag: string): string {
  return `INN_${flag.toUpperCase().replaceAll("-", "_")}`;
}

function readListen(text: string): { address: string; port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const address = bracketed ?? (plain === "localhost" ? "127.0.0.1" : plain);
  const port = Number(digits);
  if (address !== undefined && isIP(address) !== 0 && port <= 65_535) return { address, port };
  throw new ConfigError(
    `--listen ${text}: must be ADDRESS:PORT, such as 127.0.0.1:${defaultPort} or [::1]:${defaultPort}`,
  );
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}

interface TlsFlags {
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** Comma-separated. */
  readonly names: string | undefined;
  readonly isOff: boolean;
}

function readTls({ cert, key, names, isOff }: TlsFlags): TlsConfig {
  if (isOff) {
    if (cert === undefined && key === undefined && names === undefined) return { kind: "off" };
    throw new ConfigError("--no-tls goes without --tls-cert, --tls-key and --tls-name");
  }
  if (cert === undefined && key === undefined) {
    const given = (names ?? "").split(",").flatMap((name) => name.trim() || []);
    const wrong = given.find((name) => isIP(name) === 0 && !isHostName(name));
    if (wrong === undefined) return { kind: "built-in", names: given };
    throw new ConfigError(`--tls-name ${wrong}: it is neither a host name nor an address`);
  }
  if (cert === undefined || key === undefined) throw new ConfigError("--tls-cert and --tls-key belong together");
  if (names !== undefined)
    throw new ConfigError("--tls-name is for the built-in certificate; --tls-cert has its own names");
  return { kind: "files", cert, key };
}

function readBackup(stateFolder: string, text: (flag: TextFlag) => string | undefined): AutomaticBackupOptions {
  const keep = text("backup-keep") ?? String(defaultBackupKeep);
  if (!/^\d{1,4}$/.test(keep)) throw new ConfigError(`--backup-keep ${keep}: must be a number from 0 to 9999`);
  const passwordFile = text("backup-password-file");
  return {
    folder: path.resolve(text("backup-folder") ?? stateLayout(stateFolder).backup),
    keep: Number(keep),
    ...(passwordFile === undefined ? {} : { password: readPassword("--backup-password-file", passwordFile) }),
  };
}

function readPassword(flag: string, file: string): string {
  const password = readFile(flag, file).trimEnd();
  // contract/resource/user.ts, Password
  if (password.length >= 8 && password.length <= 256) return password;
  throw new ConfigError(`${flag} ${file}: a password has 8 to 256 characters`);
}

function readFile(flag: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`${flag} ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function readLogLevel(text: string): LogLevel {
  const level = logLevels.find((each) => each === text);
  if (level !== undefined) return level;
  throw new ConfigError(`--log-level ${text}: must be one of ${logLevels.join(", ")}`);
}

/**
 * Where a PostgreSQL is: `postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?…]`, as libpq has it
 * (https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING), of which what is safe is taken: over a
 * network only TLS with a verified certificate. `title` names it without its password, for messages and logs.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { userInfo } from "node:os";
import type { ClientConfig } from "pg";
import { AppError } from "#core/app-error.ts";

export interface PostgresAddress {
  readonly config: ClientConfig;
  readonly title: string;
}

const schemes: readonly string[] = ["postgres:", "postgresql:"];
const parameters: readonly string[] = ["host", "sslmode", "sslrootcert", "sslcert", "sslkey"];
const defaultPort = 5432;
/** How long a leader is silent before another takes over: with what a transaction of its may last, below ten seconds. */
export const defaultTakeoverMs = 5000;

export function isPostgresUrl(text: string): boolean {
  return schemes.some((scheme) => text.startsWith(`${scheme}//`));
}

/** bad_request says what can't be used. Without a password in the URL or here, PGPASSWORD and ~/.pgpass are looked at. */
export function postgresAddress(text: string, password?: string): PostgresAddress {
  const url = parse(text);
  const unknown = [...url.searchParams.keys()].find((name) => !parameters.includes(name));
  if (unknown !== undefined) throw wrong(`it has the parameter ${unknown}; known are ${parameters.join(", ")}`);
  const host = url.searchParams.get("host") ?? decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, "$1");
  if (host === "") throw wrong("it names no host; a local socket is given as ?host=/var/run/postgresql");
  const database = decodeURIComponent(url.pathname.slice(1));
  if (database === "" || database.includes("/")) throw wrong("it must name one database: postgres://HOST/DATABASE");
  const user = decodeURIComponent(url.username) || userInfo().username;
  const port = url.port === "" ? defaultPort : Number(url.port);
  const secret = password ?? (url.password === "" ? undefined : decodeURIComponent(url.password));
  const ssl = tls(url.searchParams, host);
  return {
    config: { host, port, user, database, ssl, ...(secret === undefined ? {} : { password: secret }) },
    title: host.startsWith("/")
      ? `postgres:///${database}?host=${host}`
      : `postgres://${user}@${isIP(host) === 6 ? `[${host}]` : host}:${port}/${database}`,
  };
}

function parse(text: string): URL {
  if (!isPostgresUrl(text)) throw wrong("it must begin with postgres://");
  // An empty host, as with a socket's folder, is none to URL.
  const url = URL.parse(text) ?? URL.parse(text.replace(/^(postgres(?:ql)?:\/\/[^/@]*@)\//, "$1localhost/"));
  if (url !== null) return url;
  throw wrong("it is no URL; a special character of a user name or password is written as %XX");
}

function tls(given: URLSearchParams, host: string): ClientConfig["ssl"] {
  const mode = given.get("sslmode");
  const isLocal = host.startsWith("/") || host === "localhost" || host === "::1" || host.startsWith("127.");
  const files = ["sslrootcert", "sslcert", "sslkey"].some((name) => given.has(name));
  if (mode === "disable" || (mode === null && isLocal && !files)) {
    if (isLocal) return false;
    throw wrong("sslmode=disable would send the password and everything else over the network in the clear");
  }
  if (mode !== null && mode !== "verify-full") {
    throw wrong(`sslmode=${mode} does not make sure that it is the right server; say sslmode=verify-full`);
  }
  const file = (name: string): string | undefined => {
    const path = given.get(name);
    return path === null ? undefined : readPem(name, path);
  };
  const [ca, cert, key] = [file("sslrootcert"), file("sslcert"), file("sslkey")];
  return {
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
    // What the certificate must name; node-postgres says it for names only.
    ...(isIP(host) === 0 ? {} : { host }),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function readPem(name: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw wrong(`${name}=${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Without the URL itself: it may hold the password. */
function wrong(why: string): AppError {
  return new AppError("bad_request", `The store's URL can't be used: ${why}.`, {
    field: "store",
    remedy: "Give it as postgres://USER@HOST/DATABASE; see docs/high-availability.md.",
  });
}

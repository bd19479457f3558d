/** What PostgreSQL's errors mean, by SQLSTATE: https://www.postgresql.org/docs/15/errcodes-appendix.html; and those of the way to it. */
import { DatabaseError } from "pg";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import { AppError } from "#core/app-error.ts";

interface Meaning {
  /** Default: store_unavailable. */
  readonly code?: ErrorCode;
  readonly message: (title: string) => string;
  readonly remedy: string;
  /** The same may succeed later; else it takes an administrator. */
  readonly retryable?: false;
}

const unreachable: Meaning = {
  message: (title) => `The store ${title} can't be reached; nothing was changed.`,
  remedy:
    "Check that PostgreSQL runs there and that the network lets this machine through. It is tried again all the time.",
};
const refused: Meaning = {
  message: (title) => `The store ${title} refuses this user or password.`,
  remedy: "Check user and password of --store (or --store-password-file), and pg_hba.conf on the server.",
  retryable: false,
};
const damaged: Meaning = {
  message: (title) => `The store ${title} is corrupted.`,
  remedy:
    "Stop all Innkeepers, keep a copy of PostgreSQL's data folder, and bring the database back from PostgreSQL's own backup, or with `inn restore FILE --store …`.",
  retryable: false,
};
const collided: Meaning = {
  message: (title) => `Another process is writing to the store ${title}; the change was not made.`,
  remedy: "Try again.",
};
const slow: Meaning = {
  message: (title) => `The store ${title} did not answer in time; the change was not made.`,
  remedy: "Look whether PostgreSQL's machine is overloaded, then try again.",
};
const ended: Meaning = {
  message: (title) => `The store ${title} is stopping or starting; the change was not made.`,
  remedy: "Wait until PostgreSQL is up. It is tried again all the time.",
};
const broken: Meaning = {
  message: (title) => `The disk under the store ${title} reports an error; the change was not made.`,
  remedy: "Check the disk and PostgreSQL's log.",
};
const readOnly: Meaning = {
  message: (title) => `The store ${title} takes no writes: it is a standby, or it was set read-only.`,
  remedy: "Name the primary in --store.",
};

/** By SQLSTATE, else by its class: the first two characters. */
const meaning: Readonly<Record<string, Meaning>> = {
  "08": unreachable, // connection exception
  "25006": readOnly, // read_only_sql_transaction
  "25P03": slow, // idle_in_transaction_session_timeout
  "28": refused, // invalid authorization specification
  "3D000": {
    message: (title) => `PostgreSQL has no such database: ${title}.`,
    remedy: "Make it: createdb --encoding=UTF8 --template=template0 --owner=USER DATABASE.",
    retryable: false,
  },
  "40": collided, // serialization_failure, deadlock_detected
  "42501": {
    message: (title) => `This user may not do in the store ${title} what Innkeeper has to.`,
    remedy: "Make the user the owner of the database: ALTER DATABASE … OWNER TO ….",
    retryable: false,
  },
  "53100": {
    code: "disk_full",
    message: (title) => `No space is left for the store ${title}; the change was not made.`,
    remedy: "Free space on PostgreSQL's disk.",
  },
  "53200": slow, // out_of_memory
  "53300": {
    message: (title) => `PostgreSQL has no connection left for the store ${title}.`,
    remedy: "Raise max_connections, or end other connections. An Innkeeper wants four.",
  },
  "55P03": collided, // lock_not_available
  "57014": slow, // query_canceled
  "57P": ended, // admin_shutdown, crash_shutdown, cannot_connect_now
  "58": broken, // system error
  XX001: damaged, // data_corrupted
  XX002: damaged, // index_corrupted
};

/** Of Node's sockets and resolver: https://nodejs.org/api/errors.html#common-system-errors */
const lostCodes: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOENT",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EACCES",
]);
/** node-postgres's own words, which have no code: node_modules/pg/lib/client.js, pg-pool/index.js */
const lostWords =
  /^(Connection terminated|timeout e(xpired|xceeded)|Query read timeout|Client (has encountered|was closed|has already)|The server does not support SSL)/;

/** Whether the connection is gone, so that nobody has said what became of the statement. */
export function isConnectionLoss(error: unknown): boolean {
  if (error instanceof DatabaseError) return [unreachable, ended].includes(meaningOf(error.code ?? "") as Meaning);
  if (!(error instanceof Error)) return false;
  return lostCodes.has(String((error as { code?: unknown }).code)) || lostWords.test(error.message);
}

export function unreachableStore(title: string): AppError {
  return new AppError("store_unavailable", unreachable.message(title), { remedy: unreachable.remedy });
}

/** The AppError that an error of node-postgres means; others as they are. */
export function translatePostgresError(error: unknown, title: string): unknown {
  if (error instanceof AppError || !(error instanceof Error)) return error;
  const sqlState = error instanceof DatabaseError ? error.code : undefined;
  const row = meaningOf(sqlState ?? "") ?? (isConnectionLoss(error) ? unreachable : tlsMeaning(error));
  if (row === undefined) return error;
  return new AppError(row.code ?? "store_unavailable", `${row.message(title)} ${saidBy(sqlState)}: ${error.message}.`, {
    remedy: row.remedy,
    ...(row.retryable === undefined ? {} : { retryable: row.retryable }),
    ...(sqlState === undefined ? {} : { fault: { sqlState } }),
    cause: error,
  });
}

function meaningOf(sqlState: string): Meaning | undefined {
  return meaning[sqlState] ?? meaning[sqlState.slice(0, 3)] ?? meaning[sqlState.slice(0, 2)];
}

/** https://nodejs.org/api/tls.html#x509-certificate-error-codes */
function tlsMeaning(error: Error): Meaning | undefined {
  const code = String((error as { code?: unknown }).code);
  if (!/CERT|TLS|SSL|VERIFY|SIGNATURE/.test(code)) return undefined;
  return {
    message: (title) => `The certificate of the store ${title} is not trusted.`,
    remedy: "Name the authority that signed it: --store postgres://…?sslmode=verify-full&sslrootcert=FILE.",
    retryable: false,
  };
}

function saidBy(sqlState: string | undefined): string {
  return sqlState === undefined ? "The reason" : "PostgreSQL says";
}

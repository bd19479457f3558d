/**
 * Who may write, as one row: a token that grows with each leader, and a renewal that grows while the present one lives.
 * Time is measured by who waits, never by the server's clock, which may jump. Invariant: each transaction that writes
 * holds the row against a new leader (`for key share`) and has seen its own token there, so that the writes of one leader
 * are over before the next one's begin. Renewing changes no key, and waits for no writer
 * (https://www.postgresql.org/docs/15/explicit-locking.html#LOCKING-ROWS).
 */
import { type Kysely, sql } from "kysely";
import type { ClientBase } from "pg";
import type { LeaderAddress } from "#store/port.ts";
import type { StoreSchema } from "#store/schema.ts";

export interface Lease {
  readonly token: number;
  readonly renewal: number;
  /** How long it must not have been renewed before another may take it: as its holder counts. */
  readonly takeoverMs: number;
  /** null: who had it has given it back. */
  readonly holder: string | null;
  readonly address: LeaderAddress | undefined;
}

const name = "leader";
/** Processes that listen hear of commits and of new leaders. */
export const channel = "innkeeper";
/** Held by who changes the schema, and shared by who takes the lease: "Innk" and a number of ours. */
export const schemaLock = 0x49_6e_6e_6b;

interface Row {
  readonly token: number;
  readonly renewal: number;
  readonly takeover_ms: number;
  readonly holder: string | null;
  readonly address: string | null;
}

export async function readLease(client: ClientBase): Promise<Lease | undefined> {
  const { rows } = await client.query<Row>("select * from lease where name = $1", [name]);
  return leaseOf(rows[0]);
}

/** undefined: another has taken it. */
export async function renewLease(
  client: ClientBase,
  token: number,
  address: LeaderAddress | undefined,
): Promise<Lease | undefined> {
  const { rows } = await client.query<Row>(
    "update lease set renewal = renewal + 1, address = $3 where name = $1 and token = $2 returning *",
    [name, token, addressText(address)],
  );
  return leaseOf(rows[0]);
}

export interface LeaseTaker {
  readonly holder: string;
  readonly takeoverMs: number;
  readonly address: LeaderAddress | undefined;
  readonly schemaVersion: number;
}

/** Takes the lease unless it is no longer as it was `seen`; waits for the writes that its holder has under way. */
export async function takeLease(
  client: ClientBase,
  seen: Lease | undefined,
  taker: LeaseTaker,
): Promise<Lease | "lost" | "other-schema"> {
  await client.query("begin");
  try {
    const taken = await takeInTransaction(client, seen, taker);
    await client.query("commit");
    return taken;
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

async function takeInTransaction(
  client: ClientBase,
  seen: Lease | undefined,
  { holder, takeoverMs, address, schemaVersion }: LeaseTaker,
): Promise<Lease | "lost" | "other-schema"> {
  const lock = await client.query<{ free: boolean }>("select pg_try_advisory_xact_lock_shared($1) as free", [
    schemaLock,
  ]);
  if (lock.rows[0]?.free !== true) return "lost";
  const version = await client.query<{ version: number }>("select count(*)::int as version from migration");
  if (version.rows[0]?.version !== schemaVersion) return "other-schema";
  const values = [name, holder, addressText(address), takeoverMs];
  if (seen === undefined) {
    const { rows } = await client.query<Row>(
      "insert into lease (name, token, renewal, holder, address, takeover_ms) values ($1, 1, 1, $2, $3, $4) on conflict do nothing returning *",
      values,
    );
    return leaseOf(rows[0]) ?? "lost";
  }
  await client.query("select from lease where name = $1 for update", [name]);
  const { rows } = await client.query<Row>(
    `update lease set token = token + 1, renewal = renewal + 1, holder = $2, address = $3, takeover_ms = $4
      where name = $1 and token = $5 and renewal = $6 returning *`,
    [...values, seen.token, seen.renewal],
  );
  return leaseOf(rows[0]) ?? "lost";
}

/** Gives it back, so that nobody has to wait until it is clear that this process is gone. */
export async function resignLease(client: ClientBase, token: number): Promise<void> {
  await client.query(
    "update lease set renewal = renewal + 1, holder = null, address = null where name = $1 and token = $2",
    [name, token],
  );
  await client.query(`notify ${channel}`);
}

/**
 * In a transaction that writes: its id if the token still leads, and then nobody takes the lease before it has ended. The
 * server ends it when nothing happens in it for `idleMs`.
 */
export async function fence(
  connection: Kysely<StoreSchema>,
  token: number,
  idleMs: number,
): Promise<string | undefined> {
  const { rows } = await sql<{ id: string }>`
    select pg_current_xact_id()::text as id, set_config('idle_in_transaction_session_timeout', ${String(idleMs)}, true)
      from lease where name = ${name} and token = ${token} for key share`.execute(connection);
  return rows[0]?.id;
}

/** In a transaction: no leader writes any more when it is committed, and until then nobody does. */
export async function depose(connection: Kysely<StoreSchema>): Promise<void> {
  await sql`select from lease for update`.execute(connection);
  await sql`update lease set token = token + 1, renewal = renewal + 1, holder = null, address = null`.execute(
    connection,
  );
}

function addressText(address: LeaderAddress | undefined): string | null {
  return address === undefined ? null : JSON.stringify(address);
}

function leaseOf(row: Row | undefined): Lease | undefined {
  if (row === undefined) return undefined;
  const { token, renewal, takeover_ms: takeoverMs, holder, address } = row;
  return {
    token,
    renewal,
    takeoverMs,
    holder,
    address: address === null ? undefined : (JSON.parse(address) as LeaderAddress),
  };
}

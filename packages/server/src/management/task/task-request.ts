/** What comes with a request for a task besides its input, and the promise that the same request is one task. */
import { createHash } from "node:crypto";
import { AppError } from "#core/app-error.ts";
import type { SecretBox } from "#core/secret-box.ts";
import type { StoreTransaction } from "#store/port.ts";

export interface TaskRequest {
  readonly userName: string;
  /** The target must still be at this revision (If-Match). */
  readonly ifRevision?: number;
  /** The same key with the same input is the same task for a day. */
  readonly idempotencyKey?: string;
}

const space = "idempotency";
/** A day: the most that a client's retries may span. */
const keepMs = 86_400_000;

interface Entry {
  readonly taskId: string;
  readonly fingerprint: string;
  readonly atMs: number;
}

/** Keys are a user's own. */
function entryKey(userName: string, key: string): string {
  return createHash("sha256")
    .update(JSON.stringify([userName, key]))
    .digest("hex");
}

/** Of the whole request; keyed, for inputs may hold credentials that could be guessed from a plain hash. */
export function fingerprint(secretBox: SecretBox, operation: string, input: unknown): string {
  return secretBox.fingerprint(JSON.stringify([operation, input]), "task-request");
}

/** The task that this request has already made; conflict if the key was used for another request. */
export async function findSameRequest(
  transaction: StoreTransaction,
  request: TaskRequest,
  print: string,
  nowMs: number,
): Promise<string | undefined> {
  if (request.idempotencyKey === undefined) return undefined;
  const key = entryKey(request.userName, request.idempotencyKey);
  const entry = (await transaction.getPrivate(space, key)) as Entry | undefined;
  if (entry === undefined || entry.atMs < nowMs - keepMs) return undefined;
  if (entry.fingerprint === print) return entry.taskId;
  throw new AppError(
    "conflict",
    `This Idempotency-Key was already used for another request (task ${entry.taskId}). Nothing was done.`,
    { field: "Idempotency-Key", remedy: "Use a new key for a new request." },
  );
}

export async function rememberRequest(
  transaction: StoreTransaction,
  request: TaskRequest,
  entry: Entry,
): Promise<void> {
  if (request.idempotencyKey === undefined) return;
  await transaction.putPrivate(space, entryKey(request.userName, request.idempotencyKey), entry);
}

/** Forgets keys that are too old to be repeated. */
export async function forgetOldRequests(transaction: StoreTransaction, nowMs: number): Promise<void> {
  for (const { key, value } of await transaction.listPrivate(space)) {
    if ((value as Entry).atMs < nowMs - keepMs) await transaction.deletePrivate(space, key);
  }
}

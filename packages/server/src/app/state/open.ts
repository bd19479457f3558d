/**
 * Opens a state for one process: its folder's lock, what an interrupted `restore` or `recover` left, its store and its
 * key. Invariant: a state whose store or key is lost, damaged or another's is refused by name and left as it is; only a
 * folder that never held a state gets a new one. Of a store that is shared, every process has the same key and authority.
 */
import { stat } from "node:fs/promises";
import path from "node:path";
import { AppError } from "#core/app-error.ts";
import { isErrno } from "#core/durable-file.ts";
import type { Clock } from "#core/clock.ts";
import { type Logger, silentLogger } from "#core/log.ts";
import { openSecretBox, readSecretBox, type SecretBox, keyRemedy } from "#core/secret-box.ts";
import { type StateLayout, stateLayout } from "#core/state-layout.ts";
import { systemClock } from "#core/system-clock.ts";
import { checkKey, hasSecrets, rememberKey } from "#management/recover/key-check.ts";
import { lockState } from "./lock.ts";
import { finishReplace } from "./replace.ts";
import { shareAuthority } from "./share-authority.ts";
import { type OpenStore, openStore, type StoreUrl } from "./store-location.ts";

export interface OpenState extends OpenStore {
  readonly secretBox: SecretBox;
}

interface OpenStateOptions {
  /** Absent: the SQLite file of the folder. */
  readonly store?: StoreUrl;
  readonly clock?: Clock;
  readonly log?: Logger;
  /** See PostgresStoreOptions. */
  readonly takeoverMs?: number;
}

/** The folder must exist. store_unavailable says which file is at fault, how, and what to do. */
export async function openState(folder: string, options: OpenStateOptions = {}): Promise<OpenState> {
  await using begun = new AsyncDisposableStack();
  begun.use(await takeState(folder));
  const opened = begun.use(await openTakenState(folder, options));
  const running = begun.move();
  return { ...opened, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** The folder is this process's alone, and in one piece. */
export async function takeState(folder: string): Promise<Disposable> {
  using begun = new DisposableStack();
  const lock = begun.use(lockState(folder));
  await finishReplace(folder);
  begun.move();
  return lock;
}

/** As `openState`, for who has the lock. */
export async function openTakenState(folder: string, options: OpenStateOptions = {}): Promise<OpenState> {
  await using begun = new AsyncDisposableStack();
  const { clock = systemClock, log = silentLogger, takeoverMs } = options;
  const layout = stateLayout(folder);
  if (options.store === undefined) await hasStore(layout);
  else await refuseEmbedded(layout);
  const deps = { clock, log, ...(takeoverMs === undefined ? {} : { takeoverMs }) };
  const opened = begun.use(await openStore(layout.store, options.store, deps));
  const secretBox = await openKey(layout, opened);
  if (opened.leadership !== undefined) await shareAuthority(opened, secretBox, layout.authority);
  const running = begun.move();
  return { ...opened, secretBox, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Two stores for one state: whoever starts on the wrong one manages the same hosts by old knowledge. */
async function refuseEmbedded({ folder, store }: StateLayout): Promise<void> {
  if (((await sizeOf(store)) ?? 0) === 0) return;
  throw new AppError("conflict", `The state in ${folder} has a store of its own, ${store}; nothing was changed.`, {
    remedy:
      "Move it into PostgreSQL with `inn store migrate --to postgres://…`, or give this process a --state folder of its own.",
  });
}

/**
 * Whether there is a store; false in a folder that never had one; store_unavailable if it had: the store is the first
 * thing that is made in a state folder.
 */
export async function hasStore({ store, key, authority }: StateLayout): Promise<boolean> {
  const size = await sizeOf(store);
  if (size !== undefined && size > 0) return true;
  const signs = [key, path.join(authority, "authority.pem"), `${store}-wal`];
  const sizes = await Promise.all(signs.map(sizeOf));
  const sign = signs.find((_, index) => (sizes[index] ?? 0) > 0);
  if (sign === undefined) return false;
  const what = size === undefined ? "is gone" : "is empty (0 bytes)";
  throw new AppError("store_unavailable", `The store ${store} ${what}, but ${sign} shows that there was one.`, {
    remedy:
      "Put it back if it was moved; if it is in PostgreSQL now, say --store postgres://…. Bring a backup back with `inn restore FILE`, or rebuild it from the hosts with `inn recover`. Guests and their disks are not touched by this. For a new start, use an empty --state folder.",
    retryable: false,
  });
}

async function openKey(layout: StateLayout, { store, leadership }: OpenStore): Promise<SecretBox> {
  const present = await readSecretBox(layout.key);
  const title = leadership === undefined ? `the store ${layout.store}` : "the shared store";
  const remedy =
    leadership === undefined ? keyRemedy : `Copy secret.key of another of its processes there. ${keyRemedy}`;
  if (present === undefined && (await hasSecrets(store))) {
    throw new AppError(
      "store_unavailable",
      `The key file ${layout.key} is gone: the hosts' keys and passwords in ${title} can't be decrypted without it.`,
      { remedy, retryable: false },
    );
  }
  // Of several that start for the first time at once, the one that leads makes the key.
  if (present === undefined && leadership !== undefined && leadership.term === undefined) {
    throw new AppError("store_unavailable", `There is no key file ${layout.key}, and another process leads.`, {
      remedy,
    });
  }
  const secretBox = present ?? (await openSecretBox(layout.key));
  if (!(await checkKey(store, secretBox))) {
    throw new AppError("store_unavailable", `The key file ${layout.key} is not the one of ${title}.`, {
      remedy,
      retryable: false,
    });
  }
  if (leadership === undefined || leadership.term !== undefined) await rememberKey(store, secretBox);
  return secretBox;
}

async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

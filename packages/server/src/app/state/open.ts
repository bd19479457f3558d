/**
 * Opens a state folder for one process: its lock, what an interrupted `restore` or `recover` left, its store and its key.
 * Invariant: a folder whose store or key is lost, damaged or another's is refused by name and left as it is; only a
 * folder that never held a state gets a new one.
 */
import { stat } from "node:fs/promises";
import path from "node:path";
import { AppError } from "#core/app-error.ts";
import { isErrno } from "#core/durable-file.ts";
import { openSecretBox, readSecretBox, type SecretBox, keyRemedy } from "#core/secret-box.ts";
import { checkKey, hasSecrets, rememberKey } from "#management/recover/key-check.ts";
import type { Store } from "#store/port.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import { type StateLayout, stateLayout } from "#core/state-layout.ts";
import { lockState } from "./lock.ts";
import { finishReplace } from "./replace.ts";

export interface OpenState extends AsyncDisposable {
  readonly store: Store;
  readonly secretBox: SecretBox;
}

/** The folder must exist. store_unavailable says which file is at fault, how, and what to do. */
export async function openState(folder: string): Promise<OpenState> {
  await using begun = new AsyncDisposableStack();
  begun.use(await takeState(folder));
  const opened = begun.use(await openTakenState(folder));
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
export async function openTakenState(folder: string): Promise<OpenState> {
  await using begun = new AsyncDisposableStack();
  const layout = stateLayout(folder);
  await hasStore(layout);
  const store = begun.use(await openSqliteStore({ file: layout.store }));
  const secretBox = await openKey(layout, store);
  const running = begun.move();
  return { store, secretBox, [Symbol.asyncDispose]: () => running.disposeAsync() };
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
      "Put it back if it was moved, bring a backup back with `inn restore FILE`, or rebuild it from the hosts with `inn recover`. Guests and their disks are not touched by this. For a new start, use an empty --state folder.",
    retryable: false,
  });
}

async function openKey(layout: StateLayout, store: Store): Promise<SecretBox> {
  const present = await readSecretBox(layout.key);
  if (present === undefined && (await hasSecrets(store))) {
    throw new AppError(
      "store_unavailable",
      `The key file ${layout.key} is gone: the hosts' keys and passwords in the store ${layout.store} can't be decrypted without it.`,
      { remedy: keyRemedy, retryable: false },
    );
  }
  const secretBox = present ?? (await openSecretBox(layout.key));
  if (!(await checkKey(store, secretBox))) {
    throw new AppError("store_unavailable", `The key file ${layout.key} is not the one of the store ${layout.store}.`, {
      remedy: keyRemedy,
      retryable: false,
    });
  }
  await rememberKey(store, secretBox);
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

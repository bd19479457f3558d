/**
 * Storage pools that live for the moment: by them libvirt's own storage calls reach a folder that it keeps and nobody has
 * a pool of. Invariant: they are never shown nor chosen; what a crash or a lost connection left of them is taken away, and
 * what is in use is not: neither on this connection, nor by another installation that has the same hosts. Whose a pool is
 * stands in its name; another's is taken away when it has been there for longer than any can be in use.
 */
import type { CallOptions, Connection, NonnullStoragePool } from "@innkeeper/libvirt";
import { KeyedLock } from "#core/concurrency.ts";
import { isNotFound } from "./error.ts";
import { longDeadlineMs } from "./session.ts";

const prefix = "innkeeper-";
const ownName = new RegExp(`^${prefix}[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`);

/** Of a connection that no installation has: a test's. */
const nobody = "00000000";
/** Whoever uses one has this deadline, and a while to take it away. */
const usedMaxMs = longDeadlineMs + 30_000;

interface Used {
  /** Eight hexadecimal digits: who uses this connection. */
  owner: string;
  readonly names: Set<string>;
  /** When pools of others were seen first. */
  readonly seenMs: Map<string, number>;
  readonly folders: KeyedLock;
}

const used = new WeakMap<Connection, Used>();

export function isOwnPool(name: string): boolean {
  return ownName.test(name);
}

/** `owner` is the same after a restart, and another for another installation. */
export function markOwnPools(connection: Connection, owner: string): void {
  if (!/^[0-9a-f]{8}$/.test(owner)) throw new TypeError(`no owner's mark: ${owner}`);
  usedOn(connection).owner = owner;
}

/** Gives `work` the name of a pool for a folder, which is its alone until it ends, and so is the name. */
export async function withOwnPoolName<T>(
  connection: Connection,
  path: string,
  work: (name: string) => Promise<T>,
): Promise<T> {
  const { owner, names, folders } = usedOn(connection);
  return await folders.run(path, async () => {
    const name = `${prefix}${owner}${crypto.randomUUID().slice(owner.length)}`;
    names.add(name);
    try {
      return await work(name);
    } finally {
      names.delete(name);
    }
  });
}

/**
 * Takes away what is left of pools that are not in use; their folders stay. How many there were, and how many are held by
 * others, as it seems. `nowMs`: monotonic.
 */
export async function removeLeftPools(
  connection: Connection,
  options: CallOptions,
  nowMs: number = performance.now(),
): Promise<{ readonly removed: number; readonly held: number }> {
  const { pools } = await connection.remote.connectListAllStoragePools({ needResults: 1 }, options);
  const { owner, names, seenMs } = usedOn(connection);
  const unused = pools.filter(({ name }) => isOwnPool(name) && !names.has(name));
  const present = new Set(unused.map(({ name }) => name));
  for (const name of seenMs.keys()) if (!present.has(name)) seenMs.delete(name);
  const isLeft = ({ name }: NonnullStoragePool): boolean => {
    if (name.startsWith(`${prefix}${owner}`)) return true;
    const sinceMs = seenMs.get(name) ?? nowMs;
    seenMs.set(name, sinceMs);
    return nowMs - sinceMs >= usedMaxMs;
  };
  const left = unused.filter(isLeft);
  for (const pool of left) await removePool(connection, pool, options);
  return { removed: left.length, held: unused.length - left.length };
}

async function removePool({ remote }: Connection, pool: NonnullStoragePool, options: CallOptions): Promise<void> {
  try {
    const { active } = await remote.storagePoolIsActive({ pool }, options);
    const { persistent } = await remote.storagePoolIsPersistent({ pool }, options);
    if (active === 1) await remote.storagePoolDestroy({ pool }, options);
    if (persistent === 1) await remote.storagePoolUndefine({ pool }, options);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function usedOn(connection: Connection): Used {
  const known = used.get(connection) ?? {
    owner: nobody,
    names: new Set<string>(),
    seenMs: new Map<string, number>(),
    folders: new KeyedLock(),
  };
  used.set(connection, known);
  return known;
}

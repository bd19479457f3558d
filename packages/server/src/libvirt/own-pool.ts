/**
 * Storage pools that live for the moment: by them libvirt's own storage calls reach a folder that it keeps and nobody has
 * a pool of. Invariant: they are never shown nor chosen; what a crash or a lost connection left of them is taken away, and
 * what is in use on the connection is not. Only one control plane works on a host, over one connection.
 */
import type { CallOptions, Connection, NonnullStoragePool } from "@innkeeper/libvirt";
import { KeyedLock } from "#core/concurrency.ts";
import { isNotFound } from "./error.ts";

const prefix = "innkeeper-";
const ownName = new RegExp(`^${prefix}[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`);

interface Used {
  readonly names: Set<string>;
  readonly folders: KeyedLock;
}

const used = new WeakMap<Connection, Used>();

export function isOwnPool(name: string): boolean {
  return ownName.test(name);
}

/** Gives `work` the name of a pool for a folder, which is its alone until it ends, and so is the name. */
export async function withOwnPoolName<T>(
  connection: Connection,
  path: string,
  work: (name: string) => Promise<T>,
): Promise<T> {
  const { names, folders } = usedOn(connection);
  return await folders.run(path, async () => {
    const name = `${prefix}${crypto.randomUUID()}`;
    names.add(name);
    try {
      return await work(name);
    } finally {
      names.delete(name);
    }
  });
}

/** Takes away what is left of pools that are not in use; their folders stay. How many there were. */
export async function removeLeftPools(connection: Connection, options: CallOptions): Promise<number> {
  const { pools } = await connection.remote.connectListAllStoragePools({ needResults: 1 }, options);
  const { names } = usedOn(connection);
  const left = pools.filter(({ name }) => isOwnPool(name) && !names.has(name));
  for (const pool of left) await removePool(connection, pool, options);
  return left.length;
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
  const known = used.get(connection) ?? { names: new Set<string>(), folders: new KeyedLock() };
  used.set(connection, known);
  return known;
}

/**
 * Takes what could be read of another store into a new one: documents that are whole and of their schema, with the private
 * data that belongs to them. What only the process of that time could use (tasks' records, requests) is left behind.
 */
import type { TSchema } from "typebox";
import { Check } from "typebox/value";
import { Cluster } from "@innkeeper/contract/resource/cluster.ts";
import { Event } from "@innkeeper/contract/resource/event.ts";
import { Host } from "@innkeeper/contract/resource/host.ts";
import { Image } from "@innkeeper/contract/resource/image.ts";
import { Network } from "@innkeeper/contract/resource/network.ts";
import { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { Task } from "@innkeeper/contract/resource/task.ts";
import { Token, User } from "@innkeeper/contract/resource/user.ts";
import { Vm } from "@innkeeper/contract/resource/vm.ts";
import { Volume } from "@innkeeper/contract/resource/volume.ts";
import { hostCredentialSpace } from "#management/reconcile/host-credential.ts";
import { taskSpace } from "#management/task/journal.ts";
import type { Draft, ResourceKind, Store } from "#store/port.ts";
import { keyCheckSpace } from "./key-check.ts";

interface Salvaged {
  readonly resources: readonly { readonly kind: string; readonly id: string; readonly document: unknown }[];
  readonly privates: readonly { readonly space: string; readonly key: string; readonly value: unknown }[];
}

export interface ImportOptions {
  /** Whether the key file opens what is sealed; else credentials of hosts are left behind. */
  readonly keyFits: boolean;
  /** Only these kinds; default: all. */
  readonly kinds?: readonly ResourceKind[];
}

const schema: Readonly<Record<ResourceKind, TSchema>> = {
  cluster: Cluster,
  host: Host,
  vm: Vm,
  snapshot: Snapshot,
  volume: Volume,
  "storage-pool": StoragePool,
  network: Network,
  image: Image,
  task: Task,
  event: Event,
  user: User,
  token: Token,
};

const leftBehind: ReadonlySet<string> = new Set([taskSpace, keyCheckSpace, "idempotency", "probe"]);
const batch = 500;

/** What the store has already stays. What is of a host that is not known is left behind: it comes back with its host. */
export async function importSalvage(
  store: Store,
  salvaged: Salvaged,
  { keyFits, kinds }: ImportOptions,
): Promise<void> {
  const whole = salvaged.resources.flatMap(({ kind, id, document }) => {
    if (!isKind(kind) || kinds?.includes(kind) === false || !isWhole(kind, id, document)) return [];
    return [{ kind, document: document as Draft<ResourceKind> }];
  });
  const present = await store.transaction((transaction) => transaction.list("host"));
  const hosts = new Set<unknown>(present.map((host) => host.id));
  for (const { kind, document } of whole) if (kind === "host") hosts.add(document.id);
  const documents = whole.filter(({ document }) => !("hostId" in document) || hosts.has(document.hostId));
  for (let at = 0; at < documents.length; at += batch) {
    await store.transaction(async (transaction) => {
      for (const { kind, document } of documents.slice(at, at + batch)) {
        if ((await transaction.get(kind, document.id)) !== undefined) continue;
        await transaction.put(kind, document);
      }
    });
  }
  const ids = new Set(documents.map(({ document }) => document.id as string));
  const privates = salvaged.privates.filter(({ space, key }) => {
    if (leftBehind.has(space) || (space === hostCredentialSpace && !keyFits)) return false;
    return kinds === undefined || ids.has(key);
  });
  for (let at = 0; at < privates.length; at += batch) {
    await store.transaction(async (transaction) => {
      for (const { space, key, value } of privates.slice(at, at + batch)) {
        if ((await transaction.getPrivate(space, key)) === undefined) await transaction.putPrivate(space, key, value);
      }
    });
  }
}

function isKind(kind: string): kind is ResourceKind {
  return Object.hasOwn(schema, kind);
}

function isWhole(kind: ResourceKind, id: string, document: unknown): boolean {
  if (typeof document !== "object" || document === null || !("id" in document) || document.id !== id) return false;
  return Check(schema[kind], { ...document, revision: 0 });
}

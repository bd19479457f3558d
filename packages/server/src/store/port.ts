/**
 * The store: one interface, several dialects, one conformance suite. Resources are JSON documents keyed by kind and id.
 * Every write appends to the change log with a new revision in the same transaction, and the document's `revision`
 * becomes that revision. Watches and caches are fed from the change log alone.
 * AppErrors: store_unavailable (locked, corrupted, gone, of a newer version), disk_full, precondition_failed.
 */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Event } from "@innkeeper/contract/resource/event.ts";
import type { Image } from "@innkeeper/contract/resource/image.ts";
import type { Network } from "@innkeeper/contract/resource/network.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Token, User } from "@innkeeper/contract/resource/user.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";

/** Every kind of stored resource. */
export interface ResourceMap {
  host: Host;
  vm: Vm;
  snapshot: Snapshot;
  volume: Volume;
  "storage-pool": StoragePool;
  network: Network;
  image: Image;
  task: Task;
  event: Event;
  user: User;
  token: Token;
}
export type ResourceKind = keyof ResourceMap;

/** A resource to write: the store sets `revision`. */
export type Draft<K extends ResourceKind> = Omit<ResourceMap[K], "revision">;

export interface ChangeEntry {
  readonly revision: number;
  readonly kind: ResourceKind;
  readonly id: string;
  readonly operation: "put" | "delete";
  /** The document as of this revision; undefined when deleted. */
  readonly resource: ResourceMap[ResourceKind] | undefined;
}

/** Writes of one transaction. Reads see them. */
export interface StoreTransaction {
  get<K extends ResourceKind>(kind: K, id: string): Promise<ResourceMap[K] | undefined>;
  list<K extends ResourceKind>(kind: K): Promise<ResourceMap[K][]>;
  /** Writes unless nothing but `revision` differs. With `ifRevision`, precondition_failed unless it is still that. Returns what is stored now. */
  put<K extends ResourceKind>(
    kind: K,
    resource: Draft<K>,
    options?: { readonly ifRevision?: number },
  ): Promise<ResourceMap[K]>;
  delete(kind: ResourceKind, id: string): Promise<void>;
  /** Data that is not a resource and is never watched: task steps' inputs and results, password hashes, secrets (encrypted by the caller), settings. */
  getPrivate(space: string, key: string): Promise<unknown>;
  listPrivate(space: string): Promise<{ key: string; value: unknown }[]>;
  putPrivate(space: string, key: string, value: unknown): Promise<void>;
  deletePrivate(space: string, key: string): Promise<void>;
  /** Latest revision, with the writes of this transaction. */
  revision(): Promise<number>;
}

export interface Store extends AsyncDisposable {
  /** All or nothing, durable when it resolves. Transactions are serialized; one inside another is a mistake and throws. */
  transaction<T>(work: (transaction: StoreTransaction) => Promise<T>): Promise<T>;
  /** Latest revision. */
  revision(): Promise<number>;
  /** Changes after `since`, oldest first, at most `limit`. precondition_failed if the log no longer reaches back so far. */
  changesSince(since: number, limit: number): Promise<ChangeEntry[]>;
  /**
   * Called after each commit that changed resources with its entries of the change log, in the order of commits and
   * before `transaction` resolves, so that who waited for it finds the change in every cache. Returns how to stop.
   */
  onCommit(listener: (changes: readonly ChangeEntry[]) => void): () => void;
  /** Forgets old change-log entries and old events and ended tasks, so that the store stays bounded. */
  prune(limits: { readonly changes: number; readonly events: number; readonly tasks: number }): Promise<void>;
  /** Makes a file with a consistent, checked copy of everything, as of one commit. Writes wait for it; disk_full leaves no file. */
  copyTo(file: string): Promise<void>;
  /** Throws store_unavailable or disk_full unless it can be written now. */
  probe(): Promise<void>;
}

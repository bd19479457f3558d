/**
 * The store: one interface, several dialects, one conformance suite. Resources are JSON documents keyed by kind and id.
 * Every write appends to the change log with a new revision in the same transaction, and the document's `revision`
 * becomes that revision. Watches and caches are fed from the change log alone.
 * AppErrors: store_unavailable (locked, corrupted, gone, unreachable, of a newer version, led by another), disk_full,
 * precondition_failed.
 */
import type { Cluster } from "@innkeeper/contract/resource/cluster.ts";
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
  cluster: Cluster;
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

/** Entries of the change log that were pruned before this process read them: in their place, what came of them. */
export interface ChangeGap {
  /** The latest revision. */
  readonly revision: number;
  /** What was changed since and is there, each as it is now, in the order of revisions. */
  readonly changes: readonly ChangeEntry[];
  /** Whether it is there. What was told before and is not was deleted. */
  has(kind: ResourceKind, id: string): boolean;
}

/** Private data that processes keep in memory: each of those that share a store is told when another changed it. */
export const cachedSpaces = ["credential"] as const;
export type CachedSpace = (typeof cachedSpaces)[number];

export interface PrivateEntry {
  readonly key: string;
  readonly value: unknown;
}

/** Metrics of an interval, of all things of a part; what `content` is, is the writer's. Never watched, in no revision. */
export interface Rollup {
  readonly intervalSeconds: number;
  readonly part: number;
  /** When the interval begins, after 1970. */
  readonly atSeconds: number;
  readonly content: string;
}

/** Writes of one transaction. Reads see them. */
export interface StoreTransaction {
  get<K extends ResourceKind>(kind: K, id: string): Promise<ResourceMap[K] | undefined>;
  list<K extends ResourceKind>(kind: K): Promise<ResourceMap[K][]>;
  /** The same bit by bit, for who has no need of all at once. */
  pages<K extends ResourceKind>(kind: K): AsyncIterable<ResourceMap[K][]>;
  /** Writes unless nothing but `revision` differs. With `ifRevision`, precondition_failed unless it is still that. Returns what is stored now. */
  put<K extends ResourceKind>(
    kind: K,
    resource: Draft<K>,
    options?: { readonly ifRevision?: number },
  ): Promise<ResourceMap[K]>;
  delete(kind: ResourceKind, id: string): Promise<void>;
  /** Data that is not a resource and is never watched: task steps' inputs and results, password hashes, secrets (encrypted by the caller), settings. */
  getPrivate(space: string, key: string): Promise<unknown>;
  listPrivate(space: string): Promise<PrivateEntry[]>;
  putPrivate(space: string, key: string, value: unknown): Promise<void>;
  deletePrivate(space: string, key: string): Promise<void>;
  /** In the place of the one of the same interval, part and time. */
  putRollup(rollup: Rollup): Promise<void>;
  /** Of one interval and part, from `fromSeconds` until before `toSeconds`, in the order of time. */
  listRollups(intervalSeconds: number, part: number, fromSeconds: number, toSeconds: number): Promise<Rollup[]>;
  deleteRollups(intervalSeconds: number, beforeSeconds: number): Promise<void>;
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
   * Called after each commit that changed resources, whichever process made it, with its entries of the change log, in
   * the order of commits; after one of this process's own before `transaction` resolves, so that who waited for it finds
   * the change in every cache. What is read in a transaction is never ahead of what was told. Returns how to stop.
   */
  onCommit(listener: (changes: readonly ChangeEntry[]) => void): () => void;
  /** Called instead when this process stood still, or was cut off, for longer than the change log is kept. Returns how to stop. */
  onGap(listener: (gap: ChangeGap) => void): () => void;
  /** Called with all of a space when another process that shares the store has changed it. Returns how to stop. */
  onPrivateChange(space: CachedSpace, listener: (entries: readonly PrivateEntry[]) => void): () => void;
  /** Forgets old change-log entries and old events and ended tasks, so that the store stays bounded. */
  prune(limits: { readonly changes: number; readonly events: number; readonly tasks: number }): Promise<void>;
  /** Makes a SQLite file with a consistent, checked copy of everything, as of one commit; disk_full leaves no file. Writes may wait for it. */
  copyTo(file: string): Promise<void>;
  /** Throws store_unavailable or disk_full unless it can be written now. */
  probe(): Promise<void>;
}

/** Where the other processes reach the one that leads. */
export interface LeaderAddress {
  readonly url: string;
  /** PEM of what vouches for its certificate; absent without TLS. */
  readonly trustPem?: string;
}

/** Which of the processes that share a store may write: one at a time, and its writes end before the next one's begin. */
export interface Leadership extends AsyncDisposable {
  /** A number that no other term has; undefined while this process may not write. */
  readonly term: number | undefined;
  /** Where the present leader is, as far as is known; it may be this process. */
  readonly leader: LeaderAddress | undefined;
  /** Whether the store answered when it was asked last. */
  readonly isReachable: boolean;
  /** Resolves when it is known who leads, this process or another one. */
  readonly decided: Promise<void>;
  /** Called after each change of `term` or `leader`. Returns how to stop. */
  onChange(listener: () => void): () => void;
  /** From now on the others are told that this process is there. */
  advertise(address: LeaderAddress): void;
}

/**
 * The inventory: every stored resource in memory, indexed, always as of the latest commit. It is fed by the store's
 * change log alone; after `await store.transaction(…)` it has the change. What it returns is shared and frozen.
 */
import { type Kind, isId } from "@innkeeper/contract/id.ts";
import { AppError } from "#core/app-error.ts";
import type { ChangeEntry, ChangeGap, ResourceKind, ResourceMap, Store } from "#store/port.ts";
import { ChangeFeed } from "#management/inventory/change-feed.ts";
import { type IndexedField, type Resource, ResourceIndex } from "#management/inventory/resource-index.ts";
import { ValueShare } from "#management/inventory/value-share.ts";

export const resourceKinds = [
  "cluster",
  "host",
  "vm",
  "snapshot",
  "volume",
  "storage-pool",
  "network",
  "image",
  "task",
  "event",
  "user",
  "token",
] as const satisfies readonly (ResourceKind & Kind)[];

/** The kind as people say it: `storage pool`, `VM`. */
export function kindTitle(kind: ResourceKind): string {
  return kind === "vm" ? "VM" : kind.replace("-", " ");
}

export class Inventory implements Disposable {
  readonly #indexes: Map<ResourceKind, ResourceIndex>;
  readonly #feed: ChangeFeed;
  readonly #listeners = new Set<(changes: readonly ChangeEntry[]) => void>();
  readonly #stop: () => void;

  private constructor(store: Store, revision: number, indexes: Map<ResourceKind, ResourceIndex>) {
    this.#feed = new ChangeFeed(store, revision);
    this.#indexes = indexes;
    const stops = [store.onCommit((changes) => this.#apply(changes)), store.onGap((gap) => this.#bridge(gap))];
    this.#stop = () => stops.forEach((stop) => stop());
  }

  /** Reads everything that the store has; from then on follows its change log. */
  static async open(store: Store): Promise<Inventory> {
    return store.transaction(async (transaction) => {
      const share = new ValueShare();
      const indexes = new Map<ResourceKind, ResourceIndex>();
      for (const kind of resourceKinds) {
        const index = new ResourceIndex(share);
        for await (const page of transaction.pages(kind)) for (const resource of page) index.put(resource);
        indexes.set(kind, index);
      }
      // Made inside the transaction: no commit can fall between what was read and the subscription.
      return new Inventory(store, await transaction.revision(), indexes);
    });
  }

  /** The change log's revision that the inventory shows. */
  get revision(): number {
    return this.#feed.revision;
  }

  get<K extends ResourceKind>(kind: K, id: string): ResourceMap[K] | undefined {
    return this.#index(kind).get(id) as ResourceMap[K] | undefined;
  }

  /** By id or name. not_found, or conflict if several have the name; both name `field`. */
  require<K extends ResourceKind>(
    kind: K,
    idOrName: string,
    options: { readonly field?: string; readonly hostId?: string } = {},
  ): ResourceMap[K] {
    const found = isId(kind, idOrName) ? this.#byIdOrUndefined(kind, idOrName) : this.by(kind, "name", idOrName);
    const matching = found.filter(
      (resource) => options.hostId === undefined || !("hostId" in resource) || resource.hostId === options.hostId,
    );
    const [resource] = matching;
    const detail = options.field === undefined ? {} : { field: options.field };
    if (resource === undefined) {
      throw new AppError("not_found", `There is no ${kindTitle(kind)} ${JSON.stringify(idOrName)}.`, detail);
    }
    if (matching.length > 1) {
      const ids = matching.map((each) => each.id).join(", ");
      throw new AppError(
        "conflict",
        `${matching.length} ${kindTitle(kind)}s have the name ${JSON.stringify(idOrName)}: ${ids}. Name one by its id.`,
        detail,
      );
    }
    return resource;
  }

  /** All of a kind, in no particular order. */
  list<K extends ResourceKind>(kind: K): ResourceMap[K][] {
    return this.#index(kind).all() as ResourceMap[K][];
  }

  count(kind: ResourceKind): number {
    return this.#index(kind).size;
  }

  /** All of a kind, one by one; nothing may be awaited meanwhile. */
  values(kind: ResourceKind): IterableIterator<Resource> {
    return this.#index(kind).values();
  }

  /** How many `by` would return. */
  countBy(kind: ResourceKind, field: IndexedField, value: string): number {
    return this.#index(kind).countBy(field, value);
  }

  /** Those whose `field` has the value: `by("snapshot", "vmId", vm.id)`. */
  by<K extends ResourceKind>(kind: K, field: IndexedField, value: string): ResourceMap[K][] {
    return this.#index(kind).by(field, value) as ResourceMap[K][];
  }

  byHost<K extends ResourceKind>(kind: K, hostId: string): ResourceMap[K][] {
    return this.by(kind, "hostId", hostId);
  }

  /** Changes after `since`, then live, until the signal aborts. See ChangeFeed. */
  changes(since: number, signal: AbortSignal): AsyncGenerator<ChangeEntry, void> {
    return this.#feed.read(since, signal);
  }

  /** precondition_failed unless `changes(since)` would have every change since then. */
  checkResumable(since: number): Promise<void> {
    return this.#feed.check(since);
  }

  /** Called after the inventory has taken the changes of a commit. Returns how to stop. */
  onChange(listener: (changes: readonly ChangeEntry[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  [Symbol.dispose](): void {
    this.#stop();
    this.#listeners.clear();
  }

  #byIdOrUndefined<K extends ResourceKind>(kind: K, id: string): ResourceMap[K][] {
    const resource = this.get(kind, id);
    return resource === undefined ? [] : [resource];
  }

  #index(kind: ResourceKind): ResourceIndex {
    const index = this.#indexes.get(kind);
    if (index === undefined) throw new AppError("internal", `unknown kind ${kind}`);
    return index;
  }

  #apply(changes: readonly ChangeEntry[]): void {
    this.#keep(changes);
    this.#feed.push(changes);
    this.#tell(changes);
  }

  /** Listeners hear of what is different; who reads the log is told that it has a gap. */
  #bridge({ revision, changes, has }: ChangeGap): void {
    const gone = [...this.#indexes].flatMap(([kind, index]) =>
      index
        .all()
        .filter(({ id }) => !has(kind, id))
        .map(({ id }): ChangeEntry => ({ revision, kind, id, operation: "delete", resource: undefined })),
    );
    const different = [...gone, ...changes];
    this.#keep(different);
    this.#feed.skipTo(revision);
    this.#tell(different);
  }

  #keep(changes: readonly ChangeEntry[]): void {
    for (const change of changes) {
      if (change.resource === undefined) this.#index(change.kind).delete(change.id);
      else this.#index(change.kind).put(change.resource);
    }
  }

  #tell(changes: readonly ChangeEntry[]): void {
    for (const listener of this.#listeners) listener(changes);
  }
}

/**
 * The writes of one transaction, over any kysely dialect. Every write of a resource takes the next revision and appends
 * to the change log; the counters are written once, at the end.
 */
import { isDeepStrictEqual } from "node:util";
import type { Kysely } from "kysely";
import { AppError } from "#core/app-error.ts";
import {
  type CachedSpace,
  cachedSpaces,
  type ChangeEntry,
  type Draft,
  type PrivateEntry,
  type ResourceKind,
  type ResourceMap,
  type Rollup,
  type StoreTransaction,
} from "#store/port.ts";
import { incrementCounter, insertChange, selectRevision, spaceCounter, updateRevision } from "#store/query/change.ts";
import { deletePrivate, selectPrivate, selectPrivateSpace, upsertPrivate } from "#store/query/private.ts";
import {
  deleteResource,
  parseResource,
  selectResource,
  selectResources,
  upsertResource,
} from "#store/query/resource.ts";
import { deleteRollups, selectRollups, upsertRollup } from "#store/query/rollup.ts";
import type { StoreSchema } from "#store/schema.ts";

export class KyselyTransaction implements StoreTransaction {
  readonly changes: ChangeEntry[] = [];
  readonly changedSpaces = new Set<CachedSpace>();
  readonly #database: Kysely<StoreSchema>;
  #revision: number | undefined;
  #open = true;

  constructor(database: Kysely<StoreSchema>) {
    this.#database = database;
  }

  /** Writes the counters; from now on the transaction refuses to be used. */
  async finish(): Promise<void> {
    this.#checkOpen();
    this.#open = false;
    if (this.changes.length > 0 && this.#revision !== undefined) await updateRevision(this.#database, this.#revision);
    for (const space of this.changedSpaces) await incrementCounter(this.#database, spaceCounter(space));
  }

  async revision(): Promise<number> {
    this.#checkOpen();
    this.#revision ??= await selectRevision(this.#database);
    return this.#revision;
  }

  async get<K extends ResourceKind>(kind: K, id: string): Promise<ResourceMap[K] | undefined> {
    this.#checkOpen();
    const stored = await selectResource(this.#database, kind, id);
    return stored && parseResource<K>(stored);
  }

  async list<K extends ResourceKind>(kind: K): Promise<ResourceMap[K][]> {
    const all: ResourceMap[K][] = [];
    for await (const page of this.pages(kind)) all.push(...page);
    return all;
  }

  async *pages<K extends ResourceKind>(kind: K): AsyncGenerator<ResourceMap[K][], void> {
    this.#checkOpen();
    for await (const page of selectResources(this.#database, kind)) {
      yield page.map((stored) => parseResource<K>(stored));
    }
  }

  async put<K extends ResourceKind>(
    kind: K,
    resource: Draft<K>,
    options: { readonly ifRevision?: number } = {},
  ): Promise<ResourceMap[K]> {
    this.#checkOpen();
    const { id } = resource;
    const stored = await selectResource(this.#database, kind, id);
    if (options.ifRevision !== undefined && (stored?.revision ?? 0) !== options.ifRevision) {
      throw new AppError(
        "precondition_failed",
        `${kind} ${id} is at revision ${stored?.revision ?? 0}, not ${options.ifRevision}.`,
        { fault: { currentRevision: stored?.revision ?? 0 } },
      );
    }
    const document = JSON.stringify({ ...resource, revision: undefined });
    if (stored !== undefined && sameDocument(stored.document, document)) return parseResource<K>(stored);
    const revision = await this.#nextRevision();
    await upsertResource(this.#database, kind, id, { revision, document });
    await insertChange(this.#database, { revision, kind, id, operation: "put", document });
    const written = parseResource<K>({ revision, document });
    this.changes.push({ revision, kind, id, operation: "put", resource: written });
    return written;
  }

  async delete(kind: ResourceKind, id: string): Promise<void> {
    this.#checkOpen();
    if ((await selectResource(this.#database, kind, id)) === undefined) return;
    const revision = await this.#nextRevision();
    await deleteResource(this.#database, kind, id);
    await insertChange(this.#database, { revision, kind, id, operation: "delete", document: null });
    this.changes.push({ revision, kind, id, operation: "delete", resource: undefined });
  }

  async getPrivate(space: string, key: string): Promise<unknown> {
    this.#checkOpen();
    return selectPrivate(this.#database, space, key);
  }

  async listPrivate(space: string): Promise<PrivateEntry[]> {
    this.#checkOpen();
    return selectPrivateSpace(this.#database, space);
  }

  async putPrivate(space: string, key: string, value: unknown): Promise<void> {
    this.#checkOpen();
    await upsertPrivate(this.#database, space, key, value);
    this.#noteSpace(space);
  }

  async deletePrivate(space: string, key: string): Promise<void> {
    this.#checkOpen();
    await deletePrivate(this.#database, space, key);
    this.#noteSpace(space);
  }

  #noteSpace(space: string): void {
    const cached = cachedSpaces.find((each) => each === space);
    if (cached !== undefined) this.changedSpaces.add(cached);
  }

  async putRollup(rollup: Rollup): Promise<void> {
    this.#checkOpen();
    await upsertRollup(this.#database, rollup);
  }

  async listRollups(intervalSeconds: number, part: number, fromSeconds: number, toSeconds: number): Promise<Rollup[]> {
    this.#checkOpen();
    return selectRollups(this.#database, intervalSeconds, part, fromSeconds, toSeconds);
  }

  async deleteRollups(intervalSeconds: number, beforeSeconds: number): Promise<void> {
    this.#checkOpen();
    await deleteRollups(this.#database, intervalSeconds, beforeSeconds);
  }

  async #nextRevision(): Promise<number> {
    this.#revision = (await this.revision()) + 1;
    return this.#revision;
  }

  #checkOpen(): void {
    if (!this.#open) throw new Error("this transaction has ended; a call inside it was not awaited");
  }
}

/** Whether two documents mean the same; the order of an object's fields means nothing. */
function sameDocument(stored: string, written: string): boolean {
  return stored === written || isDeepStrictEqual(JSON.parse(stored), JSON.parse(written));
}

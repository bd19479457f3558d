/**
 * Resources of one kind by id and by the fields that others are looked up and filtered by. Resources are frozen and their
 * equal parts are one in memory (value-share.ts): they are shared.
 */
import { someValueAt } from "@innkeeper/contract/field-path.ts";
import type { ResourceKind, ResourceMap } from "#store/port.ts";
import type { ValueShare } from "#management/inventory/value-share.ts";

export type Resource = ResourceMap[ResourceKind];

export const indexedFields = [
  "name",
  "clusterId",
  "hostId",
  "vmId",
  "poolId",
  "uuid",
  "path",
  "state",
  "tags",
  "folder",
  "addresses.address",
  "spec.nics.mac",
] as const;
export type IndexedField = (typeof indexedFields)[number];

export function indexOf(path: readonly string[]): IndexedField | undefined {
  const name = path.join(".");
  return indexedFields.find((field) => field === name);
}

const paths = indexedFields.map((field) => ({ field, path: field.split(".") }));

/** Ids by a field's value. Most values have one: a set is made when a second comes. */
type Ids = string | Set<string>;

export class ResourceIndex {
  readonly #share: ValueShare;
  readonly #byId = new Map<string, Resource>();
  readonly #byField = new Map<IndexedField, Map<string, Ids>>();

  constructor(share: ValueShare) {
    this.#share = share;
    for (const field of indexedFields) this.#byField.set(field, new Map());
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Resource | undefined {
    return this.#byId.get(id);
  }

  all(): Resource[] {
    return [...this.#byId.values()];
  }

  values(): IterableIterator<Resource> {
    return this.#byId.values();
  }

  by(field: IndexedField, value: string): Resource[] {
    const ids = this.#byField.get(field)?.get(value);
    const list = ids === undefined ? [] : typeof ids === "string" ? [ids] : [...ids];
    return list.flatMap((id) => this.#byId.get(id) ?? []);
  }

  countBy(field: IndexedField, value: string): number {
    const ids = this.#byField.get(field)?.get(value);
    return ids === undefined ? 0 : typeof ids === "string" ? 1 : ids.size;
  }

  put(resource: Resource): Resource {
    this.delete(resource.id);
    const shared = this.#share.of(resource);
    this.#byId.set(shared.id, shared);
    eachIndexedValue(shared, (field, value) => add(this.#byField.get(field), value, shared.id));
    return shared;
  }

  delete(id: string): void {
    const resource = this.#byId.get(id);
    if (resource === undefined) return;
    this.#byId.delete(id);
    eachIndexedValue(resource, (field, value) => remove(this.#byField.get(field), value, id));
  }
}

function add(byValue: Map<string, Ids> | undefined, value: string, id: string): void {
  const ids = byValue?.get(value);
  if (ids === undefined) byValue?.set(value, id);
  else if (typeof ids !== "string") ids.add(id);
  else if (ids !== id) byValue?.set(value, new Set([ids, id]));
}

function remove(byValue: Map<string, Ids> | undefined, value: string, id: string): void {
  const ids = byValue?.get(value);
  if (typeof ids === "object") ids.delete(id);
  if (ids === id || (typeof ids === "object" && ids.size === 0)) byValue?.delete(value);
}

function eachIndexedValue(resource: Resource, take: (field: IndexedField, value: string) => void): void {
  for (const { field, path } of paths) {
    someValueAt(resource, path, (value) => {
      if (typeof value === "string") take(field, value);
      return false;
    });
  }
}

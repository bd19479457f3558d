/** Resources of one kind by id and by the fields that others are looked up by. Resources are frozen: they are shared. */
import type { ResourceKind, ResourceMap } from "#store/port.ts";

type Resource = ResourceMap[ResourceKind];

export const indexedFields = ["name", "hostId", "vmId", "poolId"] as const;
export type IndexedField = (typeof indexedFields)[number];

export class ResourceIndex {
  readonly #byId = new Map<string, Resource>();
  readonly #byField = new Map<IndexedField, Map<string, Map<string, Resource>>>();

  constructor(resources: readonly Resource[]) {
    for (const field of indexedFields) this.#byField.set(field, new Map());
    for (const resource of resources) this.put(resource);
  }

  get(id: string): Resource | undefined {
    return this.#byId.get(id);
  }

  all(): Resource[] {
    return [...this.#byId.values()];
  }

  by(field: IndexedField, value: string): Resource[] {
    return [...(this.#byField.get(field)?.get(value)?.values() ?? [])];
  }

  put(resource: Resource): void {
    this.delete(resource.id);
    deepFreeze(resource);
    this.#byId.set(resource.id, resource);
    for (const [field, value] of indexedValues(resource)) {
      const byValue = this.#byField.get(field);
      const same = byValue?.get(value) ?? new Map<string, Resource>();
      same.set(resource.id, resource);
      byValue?.set(value, same);
    }
  }

  delete(id: string): void {
    const resource = this.#byId.get(id);
    if (resource === undefined) return;
    this.#byId.delete(id);
    for (const [field, value] of indexedValues(resource)) {
      const byValue = this.#byField.get(field);
      const same = byValue?.get(value);
      same?.delete(id);
      if (same?.size === 0) byValue?.delete(value);
    }
  }
}

function indexedValues(resource: Resource): [IndexedField, string][] {
  const fields = new Map<string, unknown>(Object.entries(resource));
  return indexedFields.flatMap((field): [IndexedField, string][] => {
    const value = fields.get(field);
    return typeof value === "string" ? [[field, value]] : [];
  });
}

function deepFreeze(value: unknown): void {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const part of Object.values(value)) deepFreeze(part);
}

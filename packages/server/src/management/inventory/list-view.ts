/**
 * Pages of the inventory's lists. What large lists were sorted and filtered by is kept and brought up to date by what has
 * changed since, so that the next page costs little; small ones are made anew each time. Invariant: a page shows the
 * inventory as it is at that moment.
 */
import { fieldText, filterPredicate, type Predicate, searchText } from "@innkeeper/contract/filter-match.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { candidates } from "#management/inventory/candidate.ts";
import { comparePlaces, replaced, type Row, rowOf, type SortKey, sortValue } from "#management/inventory/list-order.ts";
import { itemWriter, type ListPage, listPage, pageOf } from "#management/inventory/list-page.ts";
import { type ListRequest, relatedKinds } from "#management/inventory/list-query.ts";
import { indexOf, type Resource } from "#management/inventory/resource-index.ts";
import { TextIndex } from "#management/inventory/text-index.ts";
import type { ChangeEntry, ResourceKind } from "#store/port.ts";

/** So few are filtered and sorted at once in 2 ms. */
const smallMax = 2000;
const ordersMax = 8;
const viewsMax = 8;
const writersMax = 4;
const textsMax = 8;

/** All resources of a kind in the order of a sort, and those of them that match filters. */
interface Order {
  readonly kind: ResourceKind;
  readonly keys: readonly SortKey[];
  rows: Row[];
  readonly byId: Map<string, Row>;
  readonly views: Map<string, { readonly matches: Predicate; rows: Row[] }>;
  /** Changed since `rows` was made. */
  readonly dirty: Set<string>;
  /** What it is sorted by of other kinds, by id. */
  readonly owners: Map<string, string>;
  readonly ownerKinds: ReadonlySet<ResourceKind>;
}

export class ListViews implements Disposable {
  readonly #inventory: Inventory;
  readonly #orders = new Map<string, Order>();
  readonly #texts = new Map<string, { readonly kind: ResourceKind; readonly index: TextIndex }>();
  readonly #writers = new Map<string, (resource: object) => string>();
  readonly #changedAt = new Map<ResourceKind, number>();
  readonly #openedAt: number;
  readonly #stop: () => void;

  constructor(inventory: Inventory) {
    this.#inventory = inventory;
    this.#openedAt = inventory.revision;
    this.#stop = inventory.onChange((changes) => this.#note(changes));
  }

  page(kind: ResourceKind, request: ListRequest): ListPage {
    const { revision } = this.#inventory;
    const found = candidates(this.#inventory, kind, request.filter, (text, path) =>
      this.#having(kind, request, text, path),
    );
    if (found !== undefined && found.count <= smallMax) return listPage(found.list(), request, revision, this.#related);
    if (this.#inventory.count(kind) <= smallMax) {
      return listPage(this.#inventory.values(kind), request, revision, this.#related);
    }
    return pageOf(this.#rows(kind, request), request, revision, this.#writer(request));
  }

  /** The revision of the last change that can have changed what `page` shows. */
  changedAt(kind: ResourceKind, request: ListRequest): number {
    const ofKind = this.#changedAt.get(kind) ?? this.#openedAt;
    return relatedKinds(request).size > 0 ? this.#inventory.revision : ofKind;
  }

  get revision(): number {
    return this.#inventory.revision;
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  readonly #related = (kind: ResourceKind, id: string): Resource | undefined => this.#inventory.get(kind, id);

  #rows(kind: ResourceKind, request: ListRequest): readonly Row[] {
    const order = this.#order(kind, request);
    const { filter, filterText } = request;
    if (filter.kind === "and" && filter.terms.length === 0) return order.rows;
    const known = order.views.get(filterText);
    if (known !== undefined) {
      keepLast(order.views, filterText, known, viewsMax);
      return known.rows;
    }
    const matches = filterPredicate(filter, (resource) => searchText(resource, request.source), this.#related);
    const rows = this.#matching(order, matches);
    // What is related changes without a trace here.
    if (relatedKinds({ filter, keys: [] }).size === 0) keepLast(order.views, filterText, { matches, rows }, viewsMax);
    return rows;
  }

  /** Tested in the inventory's order, in which they lie in memory: three times as fast as in the order of a sort. */
  #matching({ kind, keys, rows, byId }: Order, matches: Predicate): Row[] {
    const matching: Row[] = [];
    for (const resource of this.#inventory.values(kind)) {
      const row = matches(resource) ? byId.get(resource.id) : undefined;
      if (row !== undefined) matching.push(row);
    }
    if (matching.length <= smallMax) return matching.sort((a, b) => comparePlaces(a, b, keys));
    const all = new Set(matching);
    return rows.filter((row) => all.has(row));
  }

  #order(kind: ResourceKind, { sort, keys }: ListRequest): Order {
    const name = `${kind} ${sort}`;
    const order = this.#orders.get(name) ?? this.#sorted(kind, keys);
    keepLast(this.#orders, name, order, ordersMax);
    if (order.dirty.size > 0) this.#repair(order);
    return order;
  }

  #sorted(kind: ResourceKind, keys: readonly SortKey[]): Order {
    const rows = Array.from(this.#inventory.values(kind), (resource) => rowOf(resource, keys, this.#related));
    rows.sort((a, b) => comparePlaces(a, b, keys));
    const ownerKinds = new Set(keys.flatMap(({ field }) => field.hops.map((hop) => hop.kind)));
    const owners = new Map<string, string>();
    for (const each of ownerKinds) {
      for (const owner of this.#inventory.values(each)) owners.set(owner.id, this.#ownerValues(each, owner, keys));
    }
    const byId = new Map(rows.map((row) => [row.id, row]));
    return { kind, keys, rows, byId, views: new Map(), dirty: new Set(), owners, ownerKinds };
  }

  #repair(order: Order): void {
    const { kind, keys, dirty, byId } = order;
    const gone: Row[] = [];
    const fresh: Row[] = [];
    for (const id of dirty) {
      const before = byId.get(id);
      if (before !== undefined) gone.push(before);
      const resource = this.#inventory.get(kind, id);
      if (resource === undefined) byId.delete(id);
      else {
        const row = rowOf(resource, keys, this.#related);
        byId.set(id, row);
        fresh.push(row);
      }
    }
    fresh.sort((a, b) => comparePlaces(a, b, keys));
    order.rows = replaced(order.rows, gone, fresh, keys);
    for (const view of order.views.values()) {
      const matching = fresh.filter((row) => view.matches(row.resource));
      view.rows = replaced(view.rows, gone, matching, keys);
    }
    dirty.clear();
  }

  #note(changes: readonly ChangeEntry[]): void {
    for (const { kind, id, revision, resource } of changes) {
      this.#changedAt.set(kind, revision);
      for (const [name, text] of this.#texts) {
        if (text.kind !== kind) continue;
        text.index.note(id, resource);
        if (text.index.isStale) this.#texts.delete(name);
      }
      for (const [name, order] of this.#orders) {
        if (order.kind === kind) order.dirty.add(id);
        const isKept = !order.ownerKinds.has(kind) || this.#noteOwner(order, kind, id, resource);
        // One that was not used for long is not worth its memory.
        if (!isKept || order.dirty.size > order.rows.length / 4) this.#orders.delete(name);
      }
    }
  }

  /** What belongs to it has another place if it is sorted by what has changed. false: what belongs to it can't be found. */
  #noteOwner(order: Order, kind: ResourceKind, id: string, owner: Resource | undefined): boolean {
    const values = owner && this.#ownerValues(kind, owner, order.keys);
    if (values === order.owners.get(id)) return true;
    if (values === undefined) order.owners.delete(id);
    else order.owners.set(id, values);
    return order.keys.every(({ field: { hops } }) => {
      const at = hops.findIndex((hop) => hop.kind === kind);
      const index = indexOf(hops[at]?.path ?? []);
      if (at < 0 || index === undefined) return at < 0;
      const memberKind = hops[at - 1]?.kind ?? order.kind;
      const members = this.#inventory.by(memberKind, index, id);
      if (at > 0) return members.every((member) => this.#noteOwner(order, memberKind, member.id, member));
      for (const member of members) order.dirty.add(member.id);
      return true;
    });
  }

  /** What an order takes of a resource that others belong to. */
  #ownerValues(kind: ResourceKind, owner: Resource, keys: readonly SortKey[]): string {
    const values = keys.flatMap(({ field }) => {
      const at = field.hops.findIndex((hop) => hop.kind === kind);
      return at < 0 ? [] : [sortValue(owner, { ...field, hops: field.hops.slice(at + 1) }, this.#related)];
    });
    return JSON.stringify(values);
  }

  #having(
    kind: ResourceKind,
    { source }: ListRequest,
    text: string,
    path?: readonly string[],
  ): Set<string> | undefined {
    // Of few it takes no time.
    if (this.#inventory.count(kind) <= smallMax) return undefined;
    const name = `${kind} ${path?.join(".") ?? ""}`;
    const known = this.#texts.get(name);
    const textOf = (resource: object): string =>
      path === undefined ? searchText(resource, source) : fieldText(resource, path);
    const index = known?.index ?? new TextIndex(this.#inventory.values(kind), textOf);
    keepLast(this.#texts, name, { kind, index }, textsMax);
    return index.find(text);
  }

  /** Writes items of chosen fields; what it has written it remembers as long as the resource is as it was. */
  #writer({ fields }: ListRequest): (resource: object) => string {
    const write = itemWriter(fields);
    if (fields === undefined) return write;
    const name = fields.join();
    const remembering = this.#writers.get(name) ?? remembered(write);
    keepLast(this.#writers, name, remembering, writersMax);
    return remembering;
  }
}

function remembered(write: (resource: object) => string): (resource: object) => string {
  const texts = new WeakMap<object, string>();
  return (resource) => {
    const known = texts.get(resource);
    if (known !== undefined) return known;
    const text = write(resource);
    texts.set(resource, text);
    return text;
  };
}

/** The least recently used goes. */
function keepLast<V>(map: Map<string, V>, key: string, value: V, max: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > max && oldest !== undefined) map.delete(oldest);
}

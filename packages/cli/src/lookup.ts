/**
 * From what the user typed to the resource: an id, a name, or `host/name` where several hosts have the name (for volumes also
 * `pool/name` and `host/pool/name`; names have no slash). Ambiguity is an error that lists the candidates, never a guess.
 */
import type { Kind } from "@innkeeper/contract/id.ts";
import type { ApiClient, ItemOf, ListOperation } from "#client.ts";
import { type CliError, tableError } from "#cli-error.ts";
import { idPrefix } from "#generated/route.ts";

/** Kinds that are looked up, by the name of the argument in a verb's usage. */
export const lookup = {
  cluster: { kind: "cluster", list: "clusterList", noun: "cluster" },
  host: { kind: "host", list: "hostList", noun: "host" },
  vm: { kind: "vm", list: "vmList", noun: "VM" },
  snapshot: { kind: "snapshot", list: "snapshotList", noun: "snapshot" },
  pool: { kind: "storage-pool", list: "poolList", noun: "storage pool" },
  volume: { kind: "volume", list: "volumeList", noun: "volume" },
  image: { kind: "image", list: "imageList", noun: "image" },
  network: { kind: "network", list: "networkList", noun: "network" },
  user: { kind: "user", list: "userList", noun: "user" },
  token: { kind: "token", list: "tokenList", noun: "token" },
} as const satisfies Record<string, { kind: Kind; list: ListOperation; noun: string }>;

export type LookupNoun = keyof typeof lookup;
export type ResourceOf<N extends LookupNoun> = ItemOf<(typeof lookup)[N]["list"]>;

interface Candidate {
  readonly id: string;
  readonly name: string;
  readonly hostId?: string;
  readonly poolId?: string;
}

/** Whether it has the form of an id of this kind (the form is contract/id.ts's). */
export function isIdOf(kind: Kind, text: string): boolean {
  return new RegExp(`^${idPrefix[kind]}-[0-9a-hjkmnp-tv-z]{12}$`).test(text);
}

/** A value in a list's filter; quotes are no part of names. */
export function filterValue(text: string): string {
  return `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
}

/** A query with the filter that all of these make; none: no filter. */
export function filterOf(conditions: readonly (string | undefined)[]): { readonly filter?: string } {
  const given = conditions.filter((condition) => condition !== undefined && condition.trim() !== "");
  if (given.length === 0) return {};
  return { filter: given.length === 1 ? `${given[0]}` : given.map((condition) => `(${condition})`).join(" and ") };
}

/** The one resource that is meant. `vmId` narrows snapshots to a VM's. */
export async function find<N extends LookupNoun>(
  api: ApiClient,
  noun: N,
  text: string,
  within: { readonly vmId?: string } = {},
): Promise<ResourceOf<N>> {
  const { kind, noun: words } = lookup[noun];
  const parts = text.split("/");
  const name = parts.at(-1) ?? "";
  const scope = within.vmId === undefined ? "" : ` and vmId=${within.vmId}`;
  const looksLikeId = isIdOf(kind, name);
  const found = await candidates(api, noun, `${looksLikeId ? "id" : "name"}=${filterValue(name)}${scope}`);
  // A name may look like an id.
  const all =
    found.length > 0 || !looksLikeId ? found : await candidates(api, noun, `name=${filterValue(name)}${scope}`);
  const matching = parts.length === 1 ? all : await narrowed(api, all, parts.slice(0, -1));
  const [first, ...others] = matching;
  if (first === undefined) throw notFound(noun, words, text, within.vmId);
  if (others.length > 0) throw await ambiguous(api, words, text, matching);
  return first as unknown as ResourceOf<N>;
}

async function candidates(api: ApiClient, noun: LookupNoun, filter: string): Promise<Candidate[]> {
  const page = await api.page(lookup[noun].list, { filter, limit: 100 });
  return page.items as unknown as Candidate[];
}

/**
 * The pool in which something is to be made. Several of the name that are shared are one storage, reached through any of
 * their hosts: the first is as good as the others.
 */
export async function findStorage(api: ApiClient, text: string): Promise<ResourceOf<"pool">> {
  if (!text.includes("/") && !isIdOf("storage-pool", text)) {
    const { items } = await api.page("poolList", { filter: `name=${filterValue(text)}`, limit: 100 });
    const [first] = items;
    if (first !== undefined && items.every((pool) => pool.shared)) return first;
  }
  return await find(api, "pool", text);
}

/** Of candidates, those on the host (or in the pool) that the prefix names. */
async function narrowed(api: ApiClient, all: readonly Candidate[], prefix: readonly string[]): Promise<Candidate[]> {
  const places = await placesOf(api, all);
  return all.filter((candidate) => {
    const { host, pool } = places(candidate);
    const known = [host, pool].filter((place) => place !== undefined);
    return prefix.every((part) => known.some((place) => place.name === part || place.id === part));
  });
}

interface Place {
  readonly id: string;
  readonly name: string;
}

function byId(places: readonly Place[] | undefined, id: string | undefined): Place | undefined {
  return places?.find((place) => place.id === id);
}

async function placesOf(
  api: ApiClient,
  all: readonly Candidate[],
): Promise<(candidate: Candidate) => { host: Place | undefined; pool: Place | undefined }> {
  const withPool = all.some((candidate) => candidate.poolId !== undefined);
  const [hosts, pools] = await Promise.all([
    api.call("hostList", { query: { limit: 1000, fields: "name" } }),
    withPool ? api.call("poolList", { query: { limit: 1000, fields: "name" } }) : undefined,
  ]);
  return (candidate) => ({ host: byId(hosts.items, candidate.hostId), pool: byId(pools?.items, candidate.poolId) });
}

function notFound(noun: LookupNoun, words: string, text: string, vmId: string | undefined): CliError {
  const where = vmId === undefined ? "" : " of this VM";
  return tableError("not_found", `there is no ${words} "${text}"${where}`, {
    remedy: `\`inn ${noun === "token" ? "user token" : noun} list\` shows what there is.`,
  });
}

async function ambiguous(api: ApiClient, words: string, text: string, all: readonly Candidate[]): Promise<CliError> {
  const places = await placesOf(api, all);
  const lines = all.map((candidate) => {
    const { host, pool } = places(candidate);
    const path = [host?.name, pool?.name, candidate.name].filter((part) => part !== undefined).join("/");
    return `${candidate.id} (${path})`;
  });
  return tableError("conflict", `${all.length} ${words}s are named "${text}": ${lines.join(", ")}`, {
    remedy: "Name it by id, or with its host in front: host/name.",
  });
}

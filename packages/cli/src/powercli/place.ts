/**
 * Where something is or is to be, in vSphere's words: a host, a cluster, or a folder of VMs. Resource pools below the root one
 * and datacenters Innkeeper does not have, so their names mean all of it, and every other name is refused.
 */
import type { ApiClient } from "#client.ts";
import { CliError, tableError } from "#cli-error.ts";
import { listAll } from "#list.ts";
import { filterValue } from "#lookup.ts";
import { rootFolder, rootPool } from "#powercli/object/vm.ts";
import type { Reference } from "#powercli/pipeline.ts";
import { select } from "#powercli/select.ts";

const placeNouns = ["host", "cluster", "folder"] as const;
export type PlaceNoun = (typeof placeNouns)[number];

export interface Place {
  readonly noun: PlaceNoun;
  /** Of a folder its path. */
  readonly id: string;
  readonly name: string;
}

/** vSphere's names of the containers that are the whole inventory (ServiceInstance.rootFolder, Datacenter.vmFolder …). */
const everywhere: readonly string[] = [rootPool, rootFolder, "host", "Datacenters", "Datacenter"];

/**
 * One of the kinds that the parameter takes, or undefined: anywhere. For what is written: a name that means several is
 * refused.
 */
export async function placeOf(
  api: ApiClient,
  reference: Reference,
  parameter: string,
  nouns: readonly PlaceNoun[] = ["host", "cluster"],
): Promise<Place | undefined> {
  const [only, ...others] = await meant(api, reference, parameter, nouns);
  if (only === undefined || others.length === 0) return only;
  const means = [only, ...others]
    .flatMap((place) => (place === undefined ? [] : `${place.noun} ${place.name}`))
    .join(", ");
  throw tableError("conflict", `"${reference.text}" means ${means}`, {
    field: parameter,
    remedy: `Name a host or a cluster by its id, a folder as ${rootFolder}/PATH.`,
  });
}

/** For what is read: all that the names mean, of whatever kind; undefined: anywhere. */
export async function placesOf(
  api: ApiClient,
  references: readonly Reference[],
  parameter: string,
  nouns: readonly PlaceNoun[] = ["host", "cluster"],
): Promise<readonly (Place | undefined)[]> {
  const found = await Promise.all(references.map(async (each) => await meant(api, each, parameter, nouns)));
  return found.flat();
}

/** At least one, or an undefined for anywhere. */
async function meant(
  api: ApiClient,
  { text, literal }: Reference,
  parameter: string,
  nouns: readonly PlaceNoun[],
): Promise<readonly (Place | undefined)[]> {
  if (everywhere.some((name) => name.toLowerCase() === text.toLowerCase())) return [undefined];
  // The root pool of a host or cluster, and a folder below the root one, as vSphere's inventory paths write them.
  const name = text.replace(new RegExp(`/${rootPool}$`, "i"), "");
  const below = new RegExp(`^${rootFolder}/(.+)$`, "i").exec(text)?.[1];
  const found: Place[] = [];
  for (const noun of nouns) {
    if (noun === "folder") found.push(...(await folderOf(api, below ?? name)));
    else if (below === undefined) found.push(...(await named(api, noun, { text: name, literal }, parameter)));
  }
  if (found.length > 0) return found;
  const kinds = nouns.join(" or ");
  throw tableError("not_found", `there is no ${kinds} "${name}"`, {
    field: parameter,
    remedy: `\`inn Get-VMHost\` and \`inn Get-Cluster\` list what there is; ${rootPool} means any. Innkeeper has no resource pools and datacenters yet.`,
  });
}

async function named(
  api: ApiClient,
  noun: "host" | "cluster",
  reference: Reference,
  parameter: string,
): Promise<Place[]> {
  try {
    const all = await select(api, noun, [reference], { parameter });
    return all.map(({ id, name }) => ({ noun, id, name }));
  } catch (error) {
    const isOther = error instanceof CliError && ["not_found", "invalid_field"].includes(error.detail.code ?? "");
    if (isOther) return [];
    throw error;
  }
}

/** A folder is there while a VM is in it, or in one below it. */
async function folderOf(api: ApiClient, folder: string): Promise<Place[]> {
  const filter = `folder=${filterValue(folder)} or folder~${filterValue(`${folder}/`)}`;
  const { items } = await listAll(api, "vmList", { filter, fields: "folder" });
  return items.some((vm) => isBelow(vm.folder, folder)) ? [{ noun: "folder", id: folder, name: folder }] : [];
}

export function isBelow(folder: string | undefined, of: string): boolean {
  return folder === of || folder?.startsWith(`${of}/`) === true;
}

/** The hosts of places, by id; undefined: of all. */
export async function hostIdsOf(
  api: ApiClient,
  places: readonly (Place | undefined)[],
): Promise<ReadonlySet<string> | undefined> {
  const ids = new Set<string>();
  for (const place of places) {
    if (place === undefined) return undefined;
    if (place.noun === "host") ids.add(place.id);
    if (place.noun !== "cluster") continue;
    const { items } = await listAll(api, "hostList", { filter: `clusterId=${place.id}`, fields: "name" });
    for (const { id } of items) ids.add(id);
  }
  return ids;
}

/** Of several parameters that may say it, all that mean the same kind must mean the same one. */
export async function onePlace(
  api: ApiClient,
  wishes: readonly {
    readonly parameter: string;
    readonly text: string | undefined;
    readonly nouns?: readonly PlaceNoun[];
  }[],
): Promise<Partial<Record<PlaceNoun, Place>>> {
  const chosen = new Map<PlaceNoun, { readonly place: Place; readonly parameter: string }>();
  for (const { parameter, text, nouns } of wishes) {
    if (text === undefined) continue;
    const place = await placeOf(api, { text, literal: false }, parameter, nouns);
    if (place === undefined) continue;
    const before = chosen.get(place.noun);
    if (before !== undefined && before.place.id !== place.id) {
      throw tableError(
        "invalid_field",
        `${before.parameter} is ${before.place.name}, but ${parameter} is ${place.name}`,
        { field: parameter, remedy: `Name one ${place.noun}.` },
      );
    }
    chosen.set(place.noun, { place, parameter });
  }
  return Object.fromEntries([...chosen].map(([noun, { place }]) => [noun, place]));
}

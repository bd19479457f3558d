/**
 * From the names of a command line, or the objects of a pipe, to the resources that are meant: ids, `host/name`, names in any
 * case, wildcards. A name without wildcards that means nothing, or several things, is an error; wildcards take what there is.
 */
import { CliError, tableError, valueError } from "#cli-error.ts";
import { listAll } from "#list.ts";
import { filterOf, filterValue, find, isIdOf, lookup, type LookupNoun, type ResourceOf } from "#lookup.ts";
import type { ApiClient } from "#client.ts";
import type { Reference } from "#powercli/pipeline.ts";
import { hasWildcard, unescaped, Wildcard } from "#powercli/wildcard.ts";

/** No name is longer (contract/name.ts); a filter has room for it. */
const nameMaxCharacters = 200;

interface Wish {
  /** Of the parameter, for errors: `-VM`. */
  readonly parameter: string;
  /** Narrows snapshots to a VM's. */
  readonly vmId?: string;
  /** Whether wildcards that match nothing are fine, as for the cmdlets that list. */
  readonly mayBeNone?: boolean;
}

export async function select<N extends LookupNoun>(
  api: ApiClient,
  noun: N,
  references: readonly Reference[],
  wish: Wish,
): Promise<ResourceOf<N>[]> {
  const found = new Map<string, ResourceOf<N>>();
  for (const reference of references) {
    for (const resource of await resolve(api, noun, reference, wish)) found.set(idOf(resource), resource);
  }
  return [...found.values()];
}

async function resolve<N extends LookupNoun>(
  api: ApiClient,
  noun: N,
  { text, literal }: Reference,
  wish: Wish,
): Promise<ResourceOf<N>[]> {
  const isWild = !literal && hasWildcard(text);
  const name = literal ? text : unescaped(text);
  if (isIdOf(lookup[noun].kind, name) || (name.includes("/") && !isWild)) return [await named(api, noun, name, wish)];
  if (isForeignId(noun, name)) throw valueError(wish.parameter, `${name} is the id of no ${lookup[noun].noun}`);
  const wildcard = isWild ? new Wildcard(text) : undefined;
  const all = await candidates(api, noun, wildcard?.literal ?? name, wish);
  if (wildcard !== undefined) {
    const matching = all.filter((resource) => wildcard.matches(nameOf(resource)));
    if (matching.length === 0 && wish.mayBeNone !== true) throw none(noun, text, wish);
    return matching;
  }
  const exact = all.filter((resource) => nameOf(resource) === name);
  const same = exact.length > 0 ? exact : all.filter((resource) => sameText(nameOf(resource), name));
  const [only, ...others] = same;
  if (only === undefined) throw none(noun, name, wish);
  if (others.length === 0) return [only];
  // Says where each of them is, and how to name one.
  if (exact.length > 0) return [await named(api, noun, name, wish)];
  const names = same.map(nameOf).join(", ");
  throw tableError("conflict", `"${name}" may be ${names}`, {
    field: wish.parameter,
    remedy: "Write it as it is, capitals too.",
  });
}

async function named<N extends LookupNoun>(
  api: ApiClient,
  noun: N,
  name: string,
  { parameter, vmId }: Wish,
): Promise<ResourceOf<N>> {
  try {
    return await find(api, noun, name, vmId === undefined ? {} : { vmId });
  } catch (error) {
    throw withField(error, parameter);
  }
}

async function candidates<N extends LookupNoun>(
  api: ApiClient,
  noun: N,
  literal: string,
  { vmId }: Wish,
): Promise<readonly ResourceOf<N>[]> {
  if (literal.length > nameMaxCharacters) return [];
  const conditions = [
    literal === "" ? undefined : `name~${filterValue(literal)}`,
    vmId === undefined ? undefined : `vmId=${vmId}`,
  ];
  const { items } = await listAll(api, lookup[noun].list, {
    ...filterOf(conditions),
    // A VM's snapshots in the order in which they were taken.
    sort: noun === "snapshot" ? "createdAt" : "name",
  });
  return items as unknown as readonly ResourceOf<N>[];
}

function none(noun: LookupNoun, text: string, { parameter, vmId }: Wish): Error {
  const where = vmId === undefined ? "" : " of this VM";
  return tableError("not_found", `there is no ${lookup[noun].noun} "${text}"${where}`, {
    field: parameter,
    remedy: `\`inn ${noun} list\` shows what there is.`,
  });
}

/** An object of another kind, piped into the wrong cmdlet. */
function isForeignId(noun: LookupNoun, text: string): boolean {
  return Object.entries(lookup).some(([other, { kind }]) => other !== noun && isIdOf(kind, text));
}

function withField(error: unknown, field: string): unknown {
  if (!(error instanceof CliError)) return error;
  return new CliError(error.message, { ...error.detail, field, cause: error });
}

function sameText(left: string, right: string): boolean {
  return left.toLowerCase() === right.toLowerCase();
}

function nameOf(resource: unknown): string {
  return (resource as { readonly name: string }).name;
}

export function idOf(resource: unknown): string {
  return (resource as { readonly id: string }).id;
}

/**
 * Lists: all pages of an operation as one table or document; with `--watch` they stay and follow the change log. On a
 * terminal the table is redrawn; elsewhere a line is printed for each row that changed.
 */
import type { ApiClient, ItemOf, ListOperation, Page } from "#client.ts";
import { usageError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { filterOf } from "#lookup.ts";
import { documentText } from "#output/format.ts";
import { type Column, tableText } from "#output/table.ts";
import { CliError } from "#cli-error.ts";
import { watch } from "#watch.ts";

interface ListDefinition<O extends ListOperation, Row> {
  readonly operation: O;
  /** Kinds of the change log that change what is shown. */
  readonly kinds: readonly string[];
  readonly columns: readonly Column<Row>[];
  /** Joins an item with what else the table shows of it, e.g. its host's name. Called once per (re)draw. */
  readonly rows: (api: ApiClient, items: readonly ItemOf<O>[]) => Promise<readonly Row[]> | readonly Row[];
  /** A condition that the verb adds to the user's filter. */
  readonly filter?: string | undefined;
  /** The list's order unless the user names one; `order` refines it by what the rows were joined with. */
  readonly sort?: string;
  readonly order?: (left: Row, right: Row) => number;
}

interface Listing<Item> {
  readonly items: readonly Item[];
  readonly totalCount: number;
  readonly revision: number;
}

/** So many at a time: the server answers others between. */
const pageLimit = 1000;

/** Every page, up to `limit` items. `revision` is the first page's, so that a watch from it misses nothing. */
export async function listAll<O extends ListOperation>(
  api: ApiClient,
  operation: O,
  query: { readonly filter?: string; readonly sort?: string; readonly limit?: number; readonly fields?: string } = {},
): Promise<Listing<ItemOf<O>>> {
  const limit = query.limit ?? Infinity;
  const first = await api.page(operation, { ...query, limit: Math.min(pageLimit, limit) });
  const items = [...first.items];
  let page: Page<ItemOf<O>> = first;
  while (page.nextCursor !== undefined && items.length < limit) {
    const rest = Math.min(pageLimit, limit - items.length);
    page = await api.page(operation, { ...query, cursor: page.nextCursor, limit: rest });
    items.push(...page.items);
  }
  return { items, totalCount: first.totalCount, revision: first.revision };
}

export async function runList<O extends ListOperation, Row extends { readonly id: string; readonly revision: number }>(
  invocation: Invocation,
  definition: ListDefinition<O, Row>,
): Promise<void> {
  const columns = chosenColumns(definition.columns, invocation);
  const read = async (): Promise<Listing<ItemOf<O>>> =>
    await listAll(invocation.api, definition.operation, listQuery(invocation, definition));
  const joined = async (listing: Listing<ItemOf<O>>): Promise<readonly Row[]> => {
    const rows = await definition.rows(invocation.api, listing.items);
    const isOrdered = definition.order !== undefined && invocation.options.text("sort") === undefined;
    return isOrdered ? rows.toSorted(definition.order) : rows;
  };
  const draw = async (listing: Listing<ItemOf<O>>, width: number | undefined): Promise<string> => {
    if (!invocation.isForPeople) return await documentText(invocation.format, listing.items);
    return tableText(await joined(listing), columns, width);
  };
  const listing = await read();
  if (invocation.options.flag("watch") === true) {
    await follow(invocation, definition, { first: listing, read, columns, draw });
    return;
  }
  invocation.print(await draw(listing, invocation.terminal.width()));
  const hidden = listing.totalCount - listing.items.length;
  if (invocation.isForPeople && hidden > 0) invocation.remark(`${hidden} more: raise --limit or use --filter\n`);
}

function listQuery(
  invocation: Invocation,
  definition: { readonly filter?: string | undefined; readonly sort?: string },
): { filter?: string; sort?: string; limit?: number; fields?: string } {
  const { options } = invocation;
  const sort = options.text("sort") ?? definition.sort;
  const limit = options.integer("limit");
  const fields = options.text("fields");
  if (fields !== undefined && (invocation.isForPeople || options.flag("watch") === true)) {
    throw usageError("--fields is for -o json and -o yaml, without --watch", "--columns chooses what a table shows.");
  }
  return {
    ...filterOf([options.text("filter"), definition.filter]),
    ...(fields === undefined ? {} : { fields }),
    ...(sort === undefined ? {} : { sort }),
    ...(limit === undefined ? {} : { limit }),
  };
}

function chosenColumns<Row>(columns: readonly Column<Row>[], invocation: Invocation): readonly Column<Row>[] {
  const wish = invocation.options.text("columns");
  if (wish === undefined) return columns.filter((column) => column.extra !== true || invocation.format === "wide");
  return wish.split(",").map((text) => {
    const name = text.trim().toLowerCase();
    const column = columns.find((candidate) => candidate.name === name);
    if (column !== undefined) return column;
    throw usageError(
      `--columns: there is no column "${name}"`,
      `There is ${columns.map((each) => each.name).join(", ")}.`,
    );
  });
}

interface FollowParts<Item, Row> {
  readonly first: Listing<Item>;
  readonly read: () => Promise<Listing<Item>>;
  readonly columns: readonly Column<Row>[];
  readonly draw: (listing: Listing<Item>, width: number | undefined) => Promise<string>;
}

/** Until the user ends it. Changes that come while a redraw is under way are answered by one more. */
async function follow<O extends ListOperation, Row extends { readonly id: string; readonly revision: number }>(
  invocation: Invocation,
  definition: ListDefinition<O, Row>,
  parts: FollowParts<ItemOf<O>, Row>,
): Promise<void> {
  const { api, signal, terminal } = invocation;
  let listing = parts.first;
  let known: ReadonlyMap<string, number> | undefined;
  const show = async (): Promise<void> => {
    if (terminal.outputIsTerminal && invocation.isForPeople) {
      // CSI H, CSI J (ECMA-48 CUP, ED): from the top left, the rest cleared.
      invocation.print(`\u001b[H\u001b[J${await parts.draw(listing, terminal.width())}`);
      return;
    }
    const rows = await definition.rows(api, listing.items);
    const changed = known === undefined ? rows : rows.filter((row) => known?.get(row.id) !== row.revision);
    const gone = [...(known?.keys() ?? [])].filter((id) => !rows.some((row) => row.id === id));
    known = new Map(rows.map((row) => [row.id, row.revision]));
    if (invocation.isForPeople) {
      const text = tableText(changed, parts.columns);
      if (changed.length > 0) invocation.print(text);
      invocation.print(gone.map((id) => `${id} is gone\n`).join(""));
    } else {
      const items = listing.items as readonly { id: string }[];
      for (const row of changed) invocation.print(`${JSON.stringify(items.find((item) => item.id === row.id))}\n`);
      for (const id of gone) invocation.print(`${JSON.stringify({ id, deleted: true })}\n`);
    }
  };
  await show();
  while (!signal.aborted) {
    try {
      for await (const change of watch(api, { since: listing.revision, kinds: definition.kinds, signal })) {
        // What is drawn already holds this change.
        if (change.revision <= listing.revision) continue;
        listing = await parts.read();
        await show();
      }
    } catch (error) {
      // The server's log no longer reaches back to what is drawn: it is listed anew.
      if (!(error instanceof CliError && error.detail.code === "precondition_failed")) throw error;
      listing = await parts.read();
      await show();
    }
  }
}

/** Names by id, for tables that show a reference. */
export async function namesOf(
  api: ApiClient,
  operation: "clusterList" | "hostList" | "poolList" | "vmList",
): Promise<(id: string) => string> {
  const { items } = await listAll(api, operation, { fields: "name" });
  const names = new Map(items.map((item) => [item.id as string, item.name]));
  return (id) => names.get(id) ?? id;
}

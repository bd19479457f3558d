/** Lists and single resources of every kind: read from the inventory, never from a host. */
import type { TSchema } from "typebox";
import { type Endpoint, type ListQuery } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint, type OperationId } from "@innkeeper/contract/endpoint/table.ts";
import type { Kind } from "@innkeeper/contract/id.ts";
import { listPage } from "#management/inventory/list-page.ts";
import type { HandlerContext, HandlerTable } from "#rest/handler.ts";
import type { RestServices } from "#rest/service.ts";

/** Kinds by the noun of their endpoints. Tokens are not here: one sees one's own alone. */
const kindOfNoun = {
  host: "host",
  vm: "vm",
  snapshot: "snapshot",
  pool: "storage-pool",
  volume: "volume",
  image: "image",
  network: "network",
  task: "task",
  event: "event",
  user: "user",
} as const satisfies Record<string, Kind>;
type Noun = keyof typeof kindOfNoun;

const defaultSort: Partial<Record<Noun, string>> = { event: "-revision", task: "-createdAt", snapshot: "createdAt" };

/** The schema of one item of a list endpoint. */
export function itemSchema(operationId: OperationId): TSchema {
  const each: Endpoint = endpoint[operationId];
  const page = each.response as { properties?: { items?: { items?: TSchema } } } | undefined;
  const schema = page?.properties?.items?.items;
  if (schema === undefined) throw new Error(`${operationId} does not answer with a page`);
  return schema;
}

export function listHandlers({ inventory }: RestServices): HandlerTable {
  const handlers: Record<string, (context: HandlerContext<OperationId>) => unknown> = {};
  for (const [noun, kind] of Object.entries(kindOfNoun)) {
    const list = `${noun}List` as OperationId;
    const schema = itemSchema(list);
    handlers[list] = ({ query }) =>
      listPage(inventory.list(kind), (query ?? {}) as ListQuery, {
        schema,
        defaultSort: defaultSort[noun as Noun] ?? "name",
        revision: inventory.revision,
      });
    if (!Object.hasOwn(endpoint, `${noun}Get`) || noun === "task") continue;
    handlers[`${noun}Get`] = ({ parameters }) => {
      const field = `${noun}Id`;
      const id = (parameters as Readonly<Record<string, string>>)[field] ?? "";
      return inventory.require(kind, id, { field, idOnly: true });
    };
  }
  return handlers as HandlerTable;
}

/** Lists and single resources of every kind: read from the inventory, never from a host. */
import type { ListQuery } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint, type OperationId } from "@innkeeper/contract/endpoint/table.ts";
import type { Kind } from "@innkeeper/contract/id.ts";
import { resourceTable } from "@innkeeper/contract/resource/table.ts";
import { readListQuery, relatedKinds } from "#management/inventory/list-query.ts";
import type { HandlerContext, HandlerTable } from "#rest/handler.ts";
import { privilegeOfKind } from "#rest/kind-privilege.ts";
import { ListAnswers } from "#rest/list-answer.ts";
import type { RestServices } from "#rest/service.ts";

/** Kinds by the noun of their endpoints. Tokens are not here: one sees one's own alone. */
const kindOfNoun = {
  cluster: "cluster",
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

export function listHandlers({ inventory, lists, access }: RestServices): HandlerTable {
  const answers = new ListAnswers(lists);
  const handlers: Record<string, (context: HandlerContext<OperationId>) => unknown> = {};
  for (const [noun, kind] of Object.entries(kindOfNoun)) {
    const list = `${noun}List` as OperationId;
    handlers[list] = (context) => {
      const { query, principal } = context;
      const sort = defaultSort[noun as Noun] ?? "name";
      const wanted = readListQuery((query ?? {}) as ListQuery, resourceTable[kind], sort);
      for (const related of relatedKinds(wanted)) {
        const privilege = privilegeOfKind[related];
        if (privilege !== "own") access.authorize(principal, privilege);
      }
      return answers.body(context, kind, wanted);
    };
    if (!Object.hasOwn(endpoint, `${noun}Get`) || noun === "task") continue;
    handlers[`${noun}Get`] = ({ parameters }) => {
      const field = `${noun}Id`;
      const id = (parameters as Readonly<Record<string, string>>)[field] ?? "";
      return inventory.require(kind, id, { field });
    };
  }
  return handlers as HandlerTable;
}

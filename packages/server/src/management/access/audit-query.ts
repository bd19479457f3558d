/** A page of the audit trail, newest first. A cursor is the id of the last entry shown. */
import { pageLimitDefault } from "@innkeeper/contract/endpoint/endpoint.ts";
import type { FieldSource } from "@innkeeper/contract/field-path.ts";
import { filterPredicate, searchText } from "@innkeeper/contract/filter-match.ts";
import { AuditEntry } from "@innkeeper/contract/resource/audit.ts";
import { AppError } from "#core/app-error.ts";
import { readFilter } from "#management/inventory/list-query.ts";

/** As those of contract/resource/table.ts. The trail names users and targets by what they were then: it has no relations. */
const auditFields: FieldSource = {
  schema: AuditEntry,
  shortNames: {},
  text: ["user", "action", "target", "path", "address", "errorCode", "requestId"],
};

export interface AuditQuery {
  readonly filter?: string | undefined;
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

export interface AuditPage {
  items: AuditEntry[];
  nextCursor?: string;
}

/** AppErrors: invalid_field for `filter` and `cursor`. */
export async function auditPage(entries: AsyncIterable<AuditEntry>, query: AuditQuery): Promise<AuditPage> {
  const filter = readFilter(query.filter ?? "", auditFields);
  const matches = filterPredicate(
    filter,
    (entry) => searchText(entry, auditFields),
    () => undefined,
  );
  const limit = query.limit ?? pageLimitDefault;
  const items: AuditEntry[] = [];
  let isReached = query.cursor === undefined;
  for await (const entry of entries) {
    if (!isReached) {
      isReached = entry.id === query.cursor;
      continue;
    }
    if (!matches(entry)) continue;
    if (items.length === limit) return { items, nextCursor: items.at(-1)?.id ?? "" };
    items.push(entry);
  }
  if (!isReached) {
    throw new AppError("invalid_field", "The audit trail has no such entry, or no longer.", { field: "cursor" });
  }
  return { items };
}

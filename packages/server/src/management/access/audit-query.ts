/** A page of the audit trail, newest first. A cursor is the id of the last entry shown. */
import { pageLimitDefault } from "@innkeeper/contract/endpoint/endpoint.ts";
import { FilterError, matchesFilter, parseFilter } from "@innkeeper/contract/filter.ts";
import { AuditEntry } from "@innkeeper/contract/resource/audit.ts";
import { AppError } from "#core/app-error.ts";

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
  const clauses = readFilter(query.filter ?? "");
  const limit = query.limit ?? pageLimitDefault;
  const items: AuditEntry[] = [];
  let isReached = query.cursor === undefined;
  for await (const entry of entries) {
    if (!isReached) {
      isReached = entry.id === query.cursor;
      continue;
    }
    if (!matchesFilter(entry, clauses)) continue;
    if (items.length === limit) return { items, nextCursor: items.at(-1)?.id ?? "" };
    items.push(entry);
  }
  if (!isReached) {
    throw new AppError("invalid_field", "The audit trail has no such entry, or no longer.", { field: "cursor" });
  }
  return { items };
}

function readFilter(text: string) {
  try {
    return parseFilter(text, AuditEntry);
  } catch (error) {
    if (error instanceof FilterError) throw new AppError("invalid_field", `${error.message}.`, { field: "filter" });
    throw error;
  }
}

/**
 * What an endpoint of the REST API is. The tables in this folder are the only description of the API: routes, OpenAPI
 * document, typed client, and the test that walks all endpoints without rights come from them.
 */
import { type Static, type TSchema, Type } from "typebox";
import type { Kind } from "../id.ts";
import type { Privilege } from "../privilege.ts";
import { Task } from "../resource/task.ts";
import { strict } from "../resource/base.ts";

export const apiPrefix = "/api/v1";

/** `open`: no login. `self`: any logged-in user, about himself. */
export type Access = Privilege | "open" | "self";

export interface Endpoint {
  readonly method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE";
  /** Below `apiPrefix`, with `{parameters}`. */
  readonly path: `/${string}`;
  /** Without `apiPrefix`: where programs that know no API look for it. */
  readonly alsoAt?: `/${string}`;
  readonly access: Access;
  /** One sentence for the docs. */
  readonly summary: string;
  readonly query?: TSchema;
  readonly body?: TSchema;
  /** Success: 202 when it answers with a task, 201 for something made at once, 204 for nothing, else 200. */
  readonly status: 200 | 201 | 202 | 204;
  readonly response?: TSchema;
  /** Bodies that are not JSON. */
  readonly bodyType?: "application/octet-stream";
  readonly responseType?:
    | "application/octet-stream"
    | "image/png"
    | "text/plain"
    | "image/x-portable-pixmap"
    | "text/event-stream"
    | "application/xml"
    | "websocket";
}

/** Whose id a path parameter is: `vmId` a VM's, `poolId` a storage pool's. */
export function kindOfParameter(name: string): Kind {
  const noun = name.replace(/Id$/, "");
  return (noun === "pool" ? "storage-pool" : noun) as Kind;
}

/** Keeps the literal types of a table while checking its shape. */
export function endpoints<const T extends Record<string, Endpoint>>(table: T): T {
  return table;
}

export const pageLimitDefault = 100;
/** Whole lists with few fields, in one answer. A page of large items ends before: see its `nextCursor`. */
export const pageLimitMax = 100_000;

/** Query of every list. What a filter is: ../filter.ts. */
export const ListQuery = Type.Object(
  {
    filter: Type.Optional(
      Type.String({
        maxLength: 2000,
        description:
          "only what matches: field=value, != < <= > >= ~ (contains), tag:x, free text, joined by and, or, not and parentheses: docs/filter.md",
      }),
    ),
    sort: Type.Optional(
      Type.String({
        maxLength: 200,
        pattern: "^-?[A-Za-z][A-Za-z0-9.]*(,-?[A-Za-z][A-Za-z0-9.]*)*$",
        description: "by these fields, at most four; -field: descending",
      }),
    ),
    fields: Type.Optional(
      Type.String({
        maxLength: 1000,
        pattern: "^[A-Za-z][A-Za-z0-9.]*(,[A-Za-z][A-Za-z0-9.]*)*$",
        description: "only these fields, and id",
      }),
    ),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: pageLimitMax,
        default: pageLimitDefault,
        description: "at most so many items, and about 8 MiB",
      }),
    ),
    cursor: Type.Optional(Type.String({ maxLength: 4000, description: "nextCursor of the page before" })),
  },
  strict,
);
export type ListQuery = Static<typeof ListQuery>;

/** A page of a list. `totalCount` counts all that match the filter. */
export function PageOf<T extends TSchema>(item: T) {
  return Type.Object({
    items: Type.Array(item),
    totalCount: Type.Integer({ minimum: 0 }),
    nextCursor: Type.Optional(Type.String()),
    revision: Type.Integer({ minimum: 0, description: "the change log's revision of this page; watch from here" }),
  });
}

/** Fields shared by endpoints that answer with a task. `waitMs` waits for its end, at most so long. */
export const TaskQuery = Type.Object({ waitMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 60_000 })) }, strict);
export const answersTask = { query: TaskQuery, status: 202, response: Task } as const;

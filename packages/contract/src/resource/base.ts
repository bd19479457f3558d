/** What every resource has: an id, and the revision of the change log at which it last changed (its ETag). */
import { Type } from "typebox";
import { IdOf, type Kind } from "../id.ts";

/** RFC 3339 time in UTC with milliseconds, e.g. `2026-11-23T04:15:00.000Z`. */
export const Time = Type.String({ format: "date-time" });

/** Free text of one or more lines. */
export const Description = Type.String({ maxLength: 4096 });

export const Tag = Type.String({ minLength: 1, maxLength: 100, pattern: "^[\\p{L}\\p{N}][\\p{L}\\p{N}_.:/=+-]*$" });

export function baseFields<K extends Kind>(kind: K) {
  return {
    id: IdOf(kind),
    revision: Type.Integer({
      minimum: 0,
      description: "revision of the change log at which it last changed; its ETag",
    }),
  };
}

/** An object that refuses unknown fields: for everything that a client sends. */
export const strict = { additionalProperties: false } as const;

/** An error on the wire: RFC 9457 problem+json, with Innkeeper's code, the field at fault and what to do. */
import { Type, type Static } from "typebox";
import { errorCodes, type ErrorCode } from "./error-code.ts";

export const problemContentType = "application/problem+json";

/** One field of a resource that is not as the client has seen it. */
export const FieldChange = Type.Object({
  field: Type.String({ description: "dotted path into the resource" }),
  before: Type.Optional(Type.Unknown({ description: "as the client has seen it; absent: it had none, or it is long" })),
  after: Type.Optional(Type.Unknown({ description: "as it is now; absent: it has none, or it is long" })),
  by: Type.Optional(Type.String({ description: "who changed it; absent: its host did, or it is not known" })),
  at: Type.Optional(Type.String({ description: "when, RFC 3339" })),
  taskId: Type.Optional(Type.String()),
});
export type FieldChange = Static<typeof FieldChange>;

export const Problem = Type.Object({
  type: Type.String({ description: "URI reference of the kind of problem: `/problem/<code>`" }),
  title: Type.String(),
  status: Type.Integer({ minimum: 100, maximum: 599 }),
  code: Type.Unsafe<ErrorCode>({ type: "string", enum: errorCodes }),
  detail: Type.Optional(Type.String({ description: "What happened, and what was left as it was" })),
  remedy: Type.Optional(Type.String({ description: "What to do about it" })),
  field: Type.Optional(Type.String({ description: "The field at fault, as a dotted path into the request" })),
  retryable: Type.Optional(Type.Boolean()),
  requestId: Type.Optional(Type.String()),
  changes: Type.Optional(
    Type.Array(FieldChange, { description: "precondition_failed: what changed since the revision of If-Match" }),
  ),
  fault: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description: "Facts for programs, e.g. libvirt's own code and message",
    }),
  ),
});
export type Problem = Static<typeof Problem>;

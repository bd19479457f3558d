/** The audit trail: every request to the API, who made it from where, and what became of it. Entries are never changed. */
import { Type, type Static } from "typebox";
import { type ErrorCode, errorCodes } from "../error-code.ts";
import { Time } from "./base.ts";

/** `accepted`: a task does it and tells of its end. `refused`: nothing was done. `failed`: something may have been. */
export const auditResults = ["succeeded", "accepted", "refused", "failed"] as const;
export type AuditResult = (typeof auditResults)[number];

export const AuditEntry = Type.Object({
  id: Type.String({ description: "unique and in the order of the trail" }),
  time: Time,
  user: Type.Optional(Type.String({ description: "who was logged in, or as whom a login was tried" })),
  address: Type.String({ description: "from where; of a proxy, what it tells if it is trusted" }),
  action: Type.String({ description: "vm.create, user.password; unknown: there is no such endpoint" }),
  target: Type.Optional(Type.String({ description: "id of what it was done to, or name of what was to be made" })),
  result: Type.Unsafe<AuditResult>({ type: "string", enum: auditResults }),
  errorCode: Type.Optional(Type.Unsafe<ErrorCode>({ type: "string", enum: errorCodes })),
  taskId: Type.Optional(Type.String()),
  method: Type.String({ description: "empty: what came could not be read as a request" }),
  path: Type.String({ description: "without the query" }),
  httpStatus: Type.Integer({ description: "of the answer; if it is unanswered, of the one that was meant for it" }),
  unanswered: Type.Optional(
    Type.Boolean({ description: "the client left before it had the whole answer; what the result says was done" }),
  ),
  durationMs: Type.Integer({ minimum: 0 }),
  requestId: Type.String(),
  credential: Type.Optional(Type.String({ description: "session, or the id of the API token" })),
});
export type AuditEntry = Static<typeof AuditEntry>;

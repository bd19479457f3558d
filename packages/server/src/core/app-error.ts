/** The one error class of the control plane; `code` is from the contract's table. Translated to problem+json once, at the edge. */
import { type ErrorCode, errorCode } from "@innkeeper/contract/error-code.ts";
import type { FieldChange, Problem } from "@innkeeper/contract/problem.ts";

interface AppErrorDetail {
  /** Dotted path of the request's field at fault. */
  readonly field?: string;
  /** What to do, where it is more exact than the table's remedy. */
  readonly remedy?: string;
  /** Facts for programs, such as libvirt's own code. Never secrets. */
  readonly fault?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
  /** precondition_failed: what is not as the client has seen it. */
  readonly changes?: readonly FieldChange[];
  /** Whether the same may succeed later; default: the table's. False where trying again is for people to decide. */
  readonly retryable?: boolean;
  /** A step of a task refused before it did anything: there is nothing half-done to go on with. */
  readonly nothingDone?: boolean;
}

export class AppError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly remedy: string | undefined;
  readonly fault: Readonly<Record<string, unknown>> | undefined;
  readonly changes: readonly FieldChange[] | undefined;
  readonly retryable: boolean;
  readonly nothingDone: boolean;

  /** `message` says what happened and what was left as it was, in the user's words. */
  constructor(code: ErrorCode, message: string, detail: AppErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "AppError";
    this.code = code;
    this.field = detail.field;
    this.remedy = detail.remedy;
    this.fault = detail.fault;
    this.changes = detail.changes;
    this.retryable = detail.retryable ?? errorCode[code].retryable;
    this.nothingDone = detail.nothingDone ?? false;
  }
}

/** The error as it goes over the wire; an unknown error shows nothing but that it is internal. */
export function toProblem(error: unknown, requestId?: string): Problem {
  const known =
    error instanceof AppError ? error : new AppError("internal", "The log has the details under the request id.");
  const row = errorCode[known.code];
  return {
    type: `/problem/${known.code}`,
    title: row.title,
    status: row.httpStatus,
    code: known.code,
    detail: known.message,
    remedy: known.remedy ?? row.remedy,
    retryable: known.retryable,
    ...(known.field === undefined ? {} : { field: known.field }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(known.changes === undefined ? {} : { changes: [...known.changes] }),
    ...(known.fault === undefined ? {} : { fault: { ...known.fault } }),
  };
}

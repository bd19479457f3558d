/**
 * What the CLI says when something can't be done: the sentence, the field, what to do, and the exit code of the contract's
 * error table. Everything that is not a CliError is a defect and is shown as such.
 */
import { type ErrorCode, errorCode } from "@innkeeper/contract/error-code.ts";
import type { FieldChange, Problem } from "@innkeeper/contract/problem.ts";
import { safeText, textWidth } from "#output/text-width.ts";
import { ago } from "#output/time.ts";

interface CliErrorDetail {
  readonly exitCode: number;
  readonly code?: ErrorCode | undefined;
  /** Dotted path into the request, or the option itself. */
  readonly field?: string | undefined;
  /** What the user typed for that field. */
  readonly option?: string | undefined;
  readonly remedy?: string | undefined;
  readonly requestId?: string | undefined;
  /** The text at fault, and the character in it. */
  readonly place?: { readonly text: string; readonly position: number } | undefined;
  /** What is not as the user has seen it. */
  readonly changes?: readonly FieldChange[] | undefined;
  /** Facts for programs, shown with `-o json`. */
  readonly fault?: Readonly<Record<string, unknown>> | undefined;
  readonly cause?: unknown;
}

export class CliError extends Error {
  override readonly name = "CliError";
  readonly detail: CliErrorDetail;

  constructor(message: string, detail: CliErrorDetail) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.detail = detail;
  }

  /** The same, showing the text at fault if the server told where in it. */
  withPlace(field: string, text: string | undefined): CliError {
    const position = this.detail.fault?.["position"];
    if (this.detail.field !== field || text === undefined || typeof position !== "number") return this;
    return new CliError(this.message, { ...this.detail, place: { text, position }, cause: this.cause });
  }

  /** The same, with the option that stands for the field. */
  withOption(option: string): CliError {
    return new CliError(this.message, { ...this.detail, option, cause: this.cause });
  }
}

/** The user typed something that is no command. */
export function usageError(message: string, remedy?: string): CliError {
  return new CliError(message, { exitCode: errorCode.bad_request.exitCode, code: "bad_request", remedy });
}

/** A value that can't be used, found before anything was sent. */
export function valueError(option: string, message: string, remedy?: string): CliError {
  return new CliError(message, {
    exitCode: errorCode.invalid_field.exitCode,
    code: "invalid_field",
    field: option,
    remedy,
  });
}

/** An error of the table, for what the CLI itself finds. */
export function tableError(code: ErrorCode, message: string, detail: Omit<CliErrorDetail, "exitCode"> = {}): CliError {
  const row = errorCode[code];
  return new CliError(message, { remedy: row.remedy, ...detail, code, exitCode: row.exitCode });
}

/** The server's or a task's problem in the CLI's form. A code that this CLI does not know yet exits with 70 (EX_SOFTWARE, sysexits.h). */
export function problemError(problem: Problem): CliError {
  const row: { exitCode: number } | undefined = Object.hasOwn(errorCode, problem.code)
    ? errorCode[problem.code]
    : undefined;
  return new CliError(problem.detail ?? problem.title, {
    exitCode: row?.exitCode ?? 70,
    code: problem.code,
    field: problem.field,
    remedy: problem.remedy,
    requestId: problem.requestId,
    changes: problem.changes,
    fault: problem.fault,
  });
}

/** What is printed on standard error: words of files, servers and hosts are in it, and none of them steers the terminal. */
export function errorText(error: unknown): string {
  return `${errorLines(error).join("\n").split("\n").map(safeText).join("\n")}\n`;
}

function errorLines(error: unknown): string[] {
  if (!(error instanceof CliError)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return ["inn: a defect of this command, please report it:", text];
  }
  const { field, option, remedy, requestId, code, place, changes = [] } = error.detail;
  const lines = [`error: ${error.message}`];
  for (const change of changes) lines.push(`  changed:    ${changeText(change)}`);
  if (field !== undefined)
    lines.push(`  field:      ${option === undefined || option === field ? field : `${field} (${option})`}`);
  if (place !== undefined) lines.push(`  here:       ${place.text}`, `${" ".repeat(14 + widthBefore(place))}^`);
  if (remedy !== undefined && remedy !== "") lines.push(`  what to do: ${remedy}`);
  if (requestId !== undefined && code === "internal") lines.push(`  request:    ${requestId}`);
  return lines;
}

function widthBefore({ text, position }: { readonly text: string; readonly position: number }): number {
  return textWidth(text.slice(0, position));
}

/** `memory.sizeMiB: 2048 → 4096, by alice 2 min ago (task-…)`. */
function changeText({ field, before, after, by, at, taskId }: FieldChange): string {
  const values = before === undefined && after === undefined ? "" : `: ${valueText(before)} → ${valueText(after)}`;
  if (by === undefined) return `${field}${values}`;
  return `${field}${values}, by ${by}${at === undefined ? "" : ` ${ago(at)}`}${taskId === undefined ? "" : ` (${taskId})`}`;
}

function valueText(value: unknown): string {
  return value === undefined ? "…" : JSON.stringify(value);
}

/** The same for programs (`-o json`). */
export function errorDocument(error: CliError): Record<string, unknown> {
  const { cause: _cause, ...detail } = error.detail;
  return { error: { message: error.message, ...detail } };
}

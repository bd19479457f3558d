/**
 * The audit trail: every request in `audit.log`; those that change something as log lines, too, and as events where no task
 * tells of them. What a client sends is written so that it can't pass for something else, in a file or on a terminal.
 */
import { newId } from "@innkeeper/contract/id.ts";
import type { AuditEntry } from "@innkeeper/contract/resource/audit.ts";
import type { EventSeverity } from "@innkeeper/contract/resource/event.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { AuditLog } from "#management/access/audit-log.ts";
import { type AuditPage, auditPage, type AuditQuery } from "#management/access/audit-query.ts";
import { FailedLogins } from "#management/access/failed-login.ts";
import type { Store } from "#store/port.ts";

interface Telling {
  readonly type: string;
  readonly severity: EventSeverity;
  readonly message: string;
}

export type AuditRecord = Omit<AuditEntry, "id">;

interface AuditDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly trail: AuditLog;
}

export class Audit implements AsyncDisposable {
  readonly #deps: AuditDeps;
  readonly #failedLogins: FailedLogins;
  /** The trail can't be written: said once, until it can be again. */
  #isBroken = false;

  constructor(deps: AuditDeps) {
    this.#deps = { ...deps, log: deps.log.child({ audit: true }) };
    this.#failedLogins = new FailedLogins(deps.clock, (message, userName) =>
      this.#tell({ type: "user.login-failed", severity: "warning", message }, userName),
    );
  }

  async record(given: AuditRecord): Promise<void> {
    const record = {
      ...given,
      path: printable(given.path),
      ...(given.user !== undefined && { user: printable(given.user) }),
      ...(given.target !== undefined && { target: printable(given.target) }),
    };
    const { action, user, address, httpStatus, errorCode, requestId, method } = record;
    this.#write(record);
    if (!isTelling(method, action) && errorCode !== "forbidden") return;
    this.#deps.log.info(record, `${action} by ${user ?? "nobody"}: ${httpStatus}`);
    if (action === "login" && errorCode === "wrong_credentials") {
      return this.#failedLogins.note(user ?? "nobody", address);
    }
    const telling = describe(record);
    if (telling !== undefined) await this.#tell(telling, user, requestId);
  }

  /** Newest first. */
  page(query: AuditQuery, signal: AbortSignal): Promise<AuditPage> {
    return auditPage(this.#deps.trail.entries(signal), query);
  }

  /** Before the store is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#failedLogins[Symbol.asyncDispose]();
  }

  /** Never throws: what was done is done. */
  #write(record: AuditRecord): void {
    try {
      this.#deps.trail.append(record);
      this.#isBroken = false;
    } catch (error) {
      if (!this.#isBroken) this.#deps.log.error({ err: error }, "the audit trail can't be written");
      this.#isBroken = true;
    }
  }

  /** Never throws: what was done is done, and the log has it. */
  async #tell(telling: Telling, userName?: string, requestId?: string): Promise<void> {
    const { store, clock, log } = this.#deps;
    try {
      await store.transaction((transaction) =>
        transaction.put("event", {
          id: newId("event"),
          time: timestamp(clock),
          ...telling,
          resources: [],
          ...(userName === undefined ? {} : { user: userName }),
        }),
      );
    } catch (error) {
      log.error({ err: error, requestId }, "an audit event could not be stored");
    }
  }
}

/** Reads that give a guest's screen, its data, or all secrets. */
const weightyReads: ReadonlySet<string> = new Set(["vm.console", "volume.download", "system.backup"]);

function isTelling(method: string, action: string): boolean {
  // What could not even be read is in the trail alone: anyone can send that.
  return (method !== "GET" && method !== "") || weightyReads.has(action);
}

/** What the event says; undefined for what a task tells of, and for requests that were merely wrong. */
function describe(entry: AuditRecord): Telling | undefined {
  const { action, address, httpStatus, errorCode } = entry;
  const who = entry.user ?? "nobody";
  if (entry.taskId !== undefined) return undefined;
  if (httpStatus < 400 && isTelling(entry.method, action)) {
    const type = action === "login" ? "user.logged-in" : action === "logout" ? "user.logged-out" : action;
    return { type, severity: "info", message: `${action} by ${who} from ${address}` };
  }
  if (errorCode === "forbidden") {
    return { type: "access.denied", severity: "warning", message: `${action} was refused to ${who} from ${address}` };
  }
  return undefined;
}

/** Control, format and bidi characters, line and paragraph separators and lone surrogates as escapes. */
function printable(text: string): string {
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (each) => `\\u{${(each.codePointAt(0) ?? 0).toString(16)}}`);
}

/** The audit trail: one log line for every request that changes something, and an event for those that no task tells of. */
import { newId } from "@innkeeper/contract/id.ts";
import type { EventSeverity } from "@innkeeper/contract/resource/event.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import { FailedLogins } from "#management/access/failed-login.ts";
import type { Store } from "#store/port.ts";

export interface AuditEntry {
  /** `user.create`, `vm.start`. */
  readonly action: string;
  /** undefined: nobody was logged in. */
  readonly userName: string | undefined;
  readonly address: string;
  readonly requestId: string;
  readonly httpStatus: number;
  readonly path: string;
  readonly errorCode?: string;
  /** The task that does it and tells of it. */
  readonly taskId?: string;
}

interface Telling {
  readonly type: string;
  readonly severity: EventSeverity;
  readonly message: string;
}

export class Audit implements AsyncDisposable {
  readonly #deps: { readonly store: Store; readonly clock: Clock; readonly log: Logger };
  readonly #failedLogins: FailedLogins;

  constructor(deps: { readonly store: Store; readonly clock: Clock; readonly log: Logger }) {
    this.#deps = { ...deps, log: deps.log.child({ audit: true }) };
    this.#failedLogins = new FailedLogins(deps.clock, (message, userName) =>
      this.#tell({ type: "user.login-failed", severity: "warning", message }, userName),
    );
  }

  async record(entry: AuditEntry): Promise<void> {
    const { action, userName, address, httpStatus, errorCode, requestId } = entry;
    this.#deps.log.info(entry, `${action} by ${userName ?? "nobody"}: ${httpStatus}`);
    if (action === "login" && errorCode === "wrong_credentials") {
      return this.#failedLogins.note(userName ?? "nobody", address);
    }
    const telling = describe(entry);
    if (telling !== undefined) await this.#tell(telling, userName, requestId);
  }

  /** Before the store is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#failedLogins[Symbol.asyncDispose]();
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

/** What the event says; undefined for what a task tells of, and for requests that were merely wrong. */
function describe(entry: AuditEntry): Telling | undefined {
  const { action, address, httpStatus, errorCode } = entry;
  const who = entry.userName ?? "nobody";
  if (entry.taskId !== undefined) return undefined;
  if (httpStatus < 400) {
    const type = action === "login" ? "user.logged-in" : action === "logout" ? "user.logged-out" : action;
    return { type, severity: "info", message: `${action} by ${who} from ${address}` };
  }
  if (errorCode === "forbidden") {
    return { type: "access.denied", severity: "warning", message: `${action} was refused to ${who} from ${address}` };
  }
  return undefined;
}

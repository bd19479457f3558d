/** The audit trail: one log line for every request that changes something, and an event for those that no task tells of. */
import { newId } from "@innkeeper/contract/id.ts";
import type { EventSeverity } from "@innkeeper/contract/resource/event.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
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

export class Audit {
  readonly #deps: { readonly store: Store; readonly clock: Clock; readonly log: Logger };

  constructor(deps: { readonly store: Store; readonly clock: Clock; readonly log: Logger }) {
    this.#deps = { ...deps, log: deps.log.child({ audit: true }) };
  }

  async record(entry: AuditEntry): Promise<void> {
    this.#deps.log.info(entry, `${entry.action} by ${entry.userName ?? "nobody"}: ${entry.httpStatus}`);
    const telling = describe(entry);
    if (telling === undefined) return;
    const { store, clock, log } = this.#deps;
    try {
      await store.transaction((transaction) =>
        transaction.put("event", {
          id: newId("event"),
          time: timestamp(clock),
          ...telling,
          resources: [],
          ...(entry.userName === undefined ? {} : { user: entry.userName }),
        }),
      );
    } catch (error) {
      log.error({ err: error, requestId: entry.requestId }, "an audit event could not be stored");
    }
  }
}

/** What the event says; undefined for what a task tells of, and for requests that were merely wrong. */
function describe(entry: AuditEntry): { type: string; severity: EventSeverity; message: string } | undefined {
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
  if (action === "login" && errorCode === "wrong_credentials") {
    return { type: "user.login-failed", severity: "warning", message: `a login as ${who} from ${address} failed` };
  }
  return undefined;
}

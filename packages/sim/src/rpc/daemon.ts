// The simulated daemon of one host: takes connections, lets calls through or refuses them (authentication, read-only
// clients, faults), and hands them to the procedures of the nouns.
import {
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_OPERATION_DENIED,
  VIR_FROM_NONE,
  VIR_FROM_RPC,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import type { Duplex } from "node:stream";
import { SimError, apiName } from "#error.ts";
import type { SimHost } from "#host/sim-host.ts";
import { isOpened } from "./dispatch.ts";
import { pipe } from "./pipe.ts";
import { isReadOnlyCall } from "./read-only.ts";
import { Session } from "./session.ts";
import type { DispatchTable } from "./dispatch.ts";
import type { Daemon, Outcome, Procedure } from "./session.ts";

/** What may be called before connectOpen (remoteGetHypervisorConn in src/remote/remote_daemon_dispatch.c is not asked). */
const BEFORE_OPEN = new Set([
  "authList",
  "authSaslInit",
  "authSaslStart",
  "authSaslStep",
  "authPolkit",
  "connectOpen",
  "connectClose",
]);

export class SimDaemon implements Daemon {
  readonly host: SimHost;
  readonly sessions = new Set<Session>();
  readonly #table: DispatchTable;

  constructor(host: SimHost, table: DispatchTable) {
    this.host = host;
    this.#table = table;
  }

  /** Serves one client on a byte stream: a socket of any kind, or one end of an in-memory pipe. */
  accept(socket: Duplex, options: { readonly isReadOnly?: boolean } = {}): Session | null {
    if (this.host.faults.refusesConnections()) {
      socket.destroy();
      return null;
    }
    const session = new Session(this, socket);
    session.isReadOnly = options.isReadOnly === true;
    this.sessions.add(session);
    this.host.faults.accepted(session);
    return session;
  }

  /** A new connection without a socket: the client's end of it. */
  dial(): Promise<Duplex> {
    const [near, far] = pipe();
    this.accept(far);
    return Promise.resolve(near);
  }

  procedure(program: number, number: number): Procedure | undefined {
    const entry = this.#table.entry(program, number);
    if (entry === undefined) return undefined;
    const { name, argsType, retType, isStream } = entry;
    return { name, argsType, retType, run: (session, args) => outcome(entry.run(this.host, args, session), isStream) };
  }

  admit(session: Session, procedure: string): void | Promise<void> {
    if (!session.isOpen && !BEFORE_OPEN.has(procedure) && procedure !== "connectSupportsFeature")
      throw new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, "connection not open");
    if (session.isReadOnly && !isReadOnlyCall(procedure))
      throw new SimError(VIR_ERR_OPERATION_DENIED, VIR_FROM_NONE, `read only access prevents ${apiName(procedure)}`);
    return this.host.faults.admit(procedure);
  }

  closed(session: Session): void {
    this.sessions.delete(session);
  }

  /** Ends all connections, as a daemon does that dies. */
  drop(): void {
    for (const session of this.sessions) session.close();
  }
}

function outcome(answer: unknown, isStream: boolean): Outcome | Promise<Outcome> {
  if (answer instanceof Promise) return answer.then((value) => settled(value, isStream));
  return settled(answer, isStream);
}

function settled(value: unknown, isStream: boolean): Outcome {
  return isStream && isOpened(value) ? { result: value.result, run: value.run } : { result: value };
}

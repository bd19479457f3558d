// Faults of one host.
import type { Session } from "#rpc/session.ts";

export class FaultSet {
  refusesConnections(): boolean {
    return false;
  }

  accepted(_session: Session): void {}

  admit(_session: Session, _procedure: string): void | Promise<void> {}
}

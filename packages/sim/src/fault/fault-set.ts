// What goes wrong on one host. Whether a rule hits is decided by the seed, the rule, and how often it was asked: the same
// run again goes wrong in the same places.
import { VIR_FROM_QEMU } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { wait } from "#host/clock.ts";
import { hashFraction } from "#host/random.ts";
import type { Clock } from "#host/clock.ts";
import type { Session } from "#rpc/session.ts";
import { matches } from "./rule.ts";
import type { FaultRule } from "./rule.ts";

export class FaultSet {
  /** Nobody is there: connections are refused. */
  isOff = false;
  /** The cable is out: connections are taken (by whoever is in between) and never answered. */
  #isIsolated = false;
  readonly #hostName: string;
  readonly #seed: number;
  readonly #clock: Clock;
  #rules: readonly FaultRule[] = [];
  #asked: number[] = [];
  readonly #sessions = new Set<Session>();

  constructor(hostName: string, seed: number, clock: Clock) {
    this.#hostName = hostName;
    this.#seed = seed;
    this.#clock = clock;
  }

  /** In place of those before. */
  setRules(rules: readonly FaultRule[]): void {
    this.#rules = rules.filter(({ host }) => matches(host, this.#hostName));
    this.#asked = this.#rules.map(() => 0);
    for (const session of this.#sessions) {
      session.unhang();
      this.#begin(session);
    }
  }

  get isIsolated(): boolean {
    return this.#isIsolated;
  }

  set isIsolated(value: boolean) {
    this.#isIsolated = value;
    for (const session of this.#sessions) {
      if (value) session.hang();
      else session.unhang();
    }
  }

  refusesConnections(): boolean {
    return this.isOff || this.#hits("refuse") !== undefined;
  }

  accepted(session: Session): void {
    this.#sessions.add(session);
    session.onClose(() => this.#sessions.delete(session));
    if (this.#isIsolated) session.hang();
    this.#begin(session);
  }

  admit(procedure: string): void | Promise<void> {
    const failure = this.#hits("fail", procedure);
    if (failure !== undefined) throw new SimError(failure.code, VIR_FROM_QEMU, failure.message);
    // Its caller waits until it gives up or the connection ends.
    if (this.#hits("hang", procedure) !== undefined) return new Promise<void>(() => undefined);
    const slow = this.#hits("slow", procedure);
    return slow === undefined ? undefined : wait(this.#clock, slow.delayMs);
  }

  #begin(session: Session): void {
    const cut = this.#hits("cut");
    if (cut !== undefined) session.cutAfter(cut.afterBytes);
    if (this.#rules.some(({ kind, procedure }) => kind === "hang" && procedure === "*")) session.hang();
  }

  #hits(kind: FaultRule["kind"], procedure?: string): FaultRule | undefined {
    if (this.#rules.length === 0) return undefined;
    return this.#rules.find((rule, index) => {
      if (rule.kind !== kind || (procedure !== undefined && !matches(rule.procedure, procedure))) return false;
      const count = this.#asked[index] ?? 0;
      this.#asked[index] = count + 1;
      return rule.probability >= 1 || hashFraction(this.#seed, this.#hostName, index, count) < rule.probability;
    });
  }
}

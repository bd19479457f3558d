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

/** A rule that stands on this host. */
interface Standing {
  readonly rule: FaultRule;
  /** Its place among the host's rules. */
  readonly index: number;
  /** How often it was asked whether it hits. */
  asked: number;
  /** Resolves when the rule is taken back. */
  readonly lifted: PromiseWithResolvers<void>;
}

export class FaultSet {
  /** Nobody is there: connections are refused. */
  isOff = false;
  /** The cable is out: connections are taken (by whoever is in between) and never answered. */
  #isIsolated = false;
  readonly #hostName: string;
  readonly #seed: number;
  readonly #clock: Clock;
  #standing: readonly Standing[] = [];
  readonly #sessions = new Set<Session>();

  constructor(hostName: string, seed: number, clock: Clock) {
    this.#hostName = hostName;
    this.#seed = seed;
    this.#clock = clock;
  }

  /** In place of those before. A rule that stood already goes on as if nothing had happened. */
  setRules(rules: readonly FaultRule[]): void {
    const before = this.#standing;
    this.#standing = rules
      .filter(({ host }) => matches(host, this.#hostName))
      .map(
        (rule, index) =>
          before.find((each) => each.rule === rule) ?? { rule, index, asked: 0, lifted: Promise.withResolvers<void>() },
      );
    for (const gone of before.filter((each) => !this.#standing.includes(each))) {
      gone.lifted.resolve();
      for (const session of this.#sessions) session.release(gone.rule);
    }
    const added = this.#standing.filter((each) => !before.includes(each));
    for (const session of this.#sessions) this.#begin(session, added);
  }

  get isIsolated(): boolean {
    return this.#isIsolated;
  }

  set isIsolated(value: boolean) {
    this.#isIsolated = value;
    for (const session of this.#sessions) {
      if (value) session.hang(this);
      else session.release(this);
    }
  }

  refusesConnections(): boolean {
    return this.isOff || this.#standing.some((each) => each.rule.kind === "refuse" && this.#hits(each));
  }

  accepted(session: Session): void {
    this.#sessions.add(session);
    session.onClose(() => this.#sessions.delete(session));
    if (this.#isIsolated) session.hang(this);
    this.#begin(session, this.#standing);
  }

  admit(procedure: string): void | Promise<void> {
    const failure = this.#hit("fail", procedure);
    if (failure !== undefined) throw new SimError(failure.rule.code, VIR_FROM_QEMU, failure.rule.message);
    const hang = this.#hit("hang", procedure);
    if (hang !== undefined) return hang.lifted.promise;
    const slow = this.#hit("slow", procedure);
    return slow === undefined ? undefined : wait(this.#clock, slow.rule.delayMs);
  }

  /** What happens to a whole connection is decided once: when it begins, or when the rule does. */
  #begin(session: Session, standing: readonly Standing[]): void {
    for (const each of standing) {
      const { rule } = each;
      if (isWholeConnection(rule) && this.#hits(each)) session.hang(rule);
      if (rule.kind === "cut" && this.#hits(each)) session.cutAfter(rule.afterBytes, rule);
    }
  }

  #hit(kind: FaultRule["kind"], procedure: string): Standing | undefined {
    return this.#standing.find(
      (each) =>
        each.rule.kind === kind &&
        !isWholeConnection(each.rule) &&
        matches(each.rule.procedure, procedure) &&
        this.#hits(each),
    );
  }

  #hits(standing: Standing): boolean {
    const { rule, index, asked } = standing;
    standing.asked = asked + 1;
    return rule.probability >= 1 || hashFraction(this.#seed, this.#hostName, index, asked) < rule.probability;
  }
}

/** Such a rule lets nothing of a connection through, whatever is called. */
function isWholeConnection({ kind, procedure }: FaultRule): boolean {
  return kind === "hang" && procedure === "*";
}

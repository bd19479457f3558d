/**
 * Who may run now. A resource is claimed by one exclusively or by any number shared; limited claims are counted.
 * Invariants: a claimant holds all its claims or none, so two can't wait for each other; whoever asked first for a
 * resource is served first, so shared claimants that keep coming never starve an exclusive one.
 */
import { AppError } from "#core/app-error.ts";
import type { Claims } from "#management/task/operation.ts";

interface Claimant {
  /** A task's id, or what goes on, in the user's words. */
  readonly name: string;
  readonly exclusive: readonly string[];
  readonly shared: readonly string[];
  readonly limited: NonNullable<Claims["limited"]>;
}

interface Waiter extends Claimant {
  readonly granted: () => void;
}

export class ClaimTable {
  readonly #exclusive = new Map<string, Claimant>();
  readonly #shared = new Map<string, Set<Claimant>>();
  readonly #counts = new Map<string, number>();
  readonly #waiting: Waiter[] = [];

  /** Resolves when the claims are held; undefined when the signal aborts first. The result gives them back. */
  async acquire(taskId: string, claims: Claims, signal: AbortSignal): Promise<(() => void) | undefined> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter: Waiter = { ...claimantOf(taskId, claims), granted: () => resolve(true) };
    this.#waiting.push(waiter);
    const onAbort = (): void => {
      const index = this.#waiting.indexOf(waiter);
      if (index === -1) return;
      this.#waiting.splice(index, 1);
      resolve(false);
      this.#grant();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    this.#grant();
    const granted = await promise;
    signal.removeEventListener("abort", onAbort);
    return granted ? this.#releaseOnce(waiter) : undefined;
  }

  /**
   * For work that can't wait because its client would: the claims at once, or conflict, naming who has one of them or
   * asked for it first. The result gives them back. `what` names the work: `the upload to volume data.img`.
   */
  acquireNow(what: string, claims: Claims): () => void {
    const claimant = claimantOf(what, claims);
    const other = this.#holderInTheWay(claimant) ?? this.#waiting.find((waiter) => collide(waiter, claimant));
    if (other !== undefined || this.#isAtLimit(claimant)) {
      const who = other === undefined ? "others of its kind are under way" : `${other.name} has not ended yet`;
      throw new AppError("conflict", `${what} can't begin: ${who}. Nothing was changed.`, {
        remedy: "Wait for its end, or cancel it.",
      });
    }
    this.#hold(claimant);
    return this.#releaseOnce(claimant);
  }

  #grant(): void {
    const exclusive = new Set<string>();
    const shared = new Set<string>();
    for (const waiter of this.#waiting.slice()) {
      const isBehind =
        waiter.exclusive.some((key) => exclusive.has(key) || shared.has(key)) ||
        waiter.shared.some((key) => exclusive.has(key));
      if (isBehind || this.#holderInTheWay(waiter) !== undefined || this.#isAtLimit(waiter)) {
        for (const key of waiter.exclusive) exclusive.add(key);
        for (const key of waiter.shared) shared.add(key);
        continue;
      }
      this.#hold(waiter);
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      waiter.granted();
    }
  }

  #holderInTheWay({ exclusive, shared }: Claimant): Claimant | undefined {
    for (const key of [...exclusive, ...shared]) {
      const holder = this.#exclusive.get(key);
      if (holder !== undefined) return holder;
    }
    for (const key of exclusive) {
      const [holder] = this.#shared.get(key) ?? [];
      if (holder !== undefined) return holder;
    }
    return undefined;
  }

  #isAtLimit({ limited }: Claimant): boolean {
    return limited.some(({ key, max }) => (this.#counts.get(key) ?? 0) >= max);
  }

  #hold(claimant: Claimant): void {
    for (const key of claimant.exclusive) this.#exclusive.set(key, claimant);
    for (const key of claimant.shared) {
      const holders = this.#shared.get(key);
      if (holders === undefined) this.#shared.set(key, new Set([claimant]));
      else holders.add(claimant);
    }
    for (const { key } of claimant.limited) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  #releaseOnce(claimant: Claimant): () => void {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#release(claimant);
    };
  }

  #release(claimant: Claimant): void {
    for (const key of claimant.exclusive) this.#exclusive.delete(key);
    for (const key of claimant.shared) {
      const holders = this.#shared.get(key);
      holders?.delete(claimant);
      if (holders?.size === 0) this.#shared.delete(key);
    }
    for (const { key } of claimant.limited) {
      const count = (this.#counts.get(key) ?? 1) - 1;
      if (count === 0) this.#counts.delete(key);
      else this.#counts.set(key, count);
    }
    this.#grant();
  }
}

/** What is claimed both ways is claimed exclusively. */
function claimantOf(name: string, { exclusive, shared = [], limited = [] }: Claims): Claimant {
  const alone = new Set(exclusive);
  return { name, exclusive, shared: shared.filter((key) => !alone.has(key)), limited };
}

function collide(one: Claimant, other: Claimant): boolean {
  return (
    one.exclusive.some((key) => other.exclusive.includes(key) || other.shared.includes(key)) ||
    one.shared.some((key) => other.exclusive.includes(key))
  );
}

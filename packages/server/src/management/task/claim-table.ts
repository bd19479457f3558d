/**
 * Who may run now. A resource is claimed by one exclusively or by any number shared; limited claims are counted.
 * Invariants: a claimant holds all its claims or none, so two can't wait for each other; whoever asked first for a
 * resource is served first, so shared claimants that keep coming never starve an exclusive one. Where a limit lets only
 * some of many go on, the next is of the user who has the fewest under way: a thousand tasks of one don't hold up another's.
 */
import { AppError } from "#core/app-error.ts";
import type { Claims } from "#management/task/operation.ts";

interface Claimant {
  /** A task's id, or what goes on, in the user's words. */
  readonly name: string;
  readonly exclusive: readonly string[];
  readonly shared: readonly string[];
  readonly limited: NonNullable<Claims["limited"]>;
  readonly userName: string;
}

interface Waiter extends Claimant {
  /** It has begun, and comes before those that have not. */
  readonly isBack: boolean;
  readonly granted: () => void;
}

export type GoOn = (signal: AbortSignal, onWait: () => Promise<void>) => Promise<void>;

/** Claims that are held. */
export interface Hold {
  /** These instead, at once; false, and nothing is changed, if somebody has one that is new, or asked for it first. */
  readonly tryChange: (claims: Claims) => boolean;
  /**
   * Those that count only at work are given back; the result waits until they are had again, before those that have not
   * begun. Who is aborted meanwhile has them at once: what is left for it to do is to end. `onWait`: there is none yet.
   */
  readonly pause: () => GoOn;
  /** A second time is fine. */
  readonly release: () => void;
}

export class ClaimTable {
  readonly #exclusive = new Map<string, Claimant>();
  readonly #shared = new Map<string, Set<Claimant>>();
  readonly #counts = new Map<string, number>();
  /** In the order in which they came. */
  #waiting: Waiter[] = [];
  readonly #heldByUser = new Map<string, number>();
  /** The number of each user's last grant, of all grants. */
  readonly #servedAt = new Map<string, number>();
  #grants = 0;

  /** Resolves when the claims are held; undefined when the signal aborts first. */
  async acquire(taskId: string, claims: Claims, signal: AbortSignal, userName = ""): Promise<Hold | undefined> {
    const granted = await this.#wait(claimantOf(taskId, claims, userName), signal);
    return granted && this.#holdOf(granted);
  }

  /**
   * For work that can't wait because its client would: the claims at once, or conflict, naming who has one of them or
   * asked for it first. The result gives them back. `what` names the work: `the upload to volume data.img`.
   */
  acquireNow(what: string, claims: Claims): () => void {
    const claimant = claimantOf(what, claims, "");
    const other = this.#inTheWay(claimant);
    if (other !== undefined || this.#isAtLimit(claimant)) {
      const who = other === undefined ? "others of its kind are under way" : `${other.name} has not ended yet`;
      throw new AppError("conflict", `${what} can't begin: ${who}. Nothing was changed.`, {
        remedy: "Wait for its end, or cancel it.",
      });
    }
    this.#hold(claimant);
    return this.#holdOf(claimant).release;
  }

  /** The claimant once it holds; undefined when the signal aborts first. */
  async #wait(claimant: Claimant, signal: AbortSignal, isBack = false) {
    const { promise, resolve } = Promise.withResolvers<Claimant | undefined>();
    const waiter: Waiter = { ...claimant, isBack, granted: () => resolve(waiter) };
    this.#waiting.push(waiter);
    const onAbort = (): void => {
      const index = this.#waiting.indexOf(waiter);
      if (index === -1) return;
      this.#waiting.splice(index, 1);
      resolve(undefined);
      this.#grant();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    this.#grant();
    const granted = await promise;
    signal.removeEventListener("abort", onAbort);
    return granted;
  }

  #holdOf(claimant: Claimant): Hold {
    let current: Claimant | undefined = claimant;
    const change = (next: Claimant | undefined): void => {
      if (current !== undefined) this.#drop(current);
      current = next;
      if (next !== undefined) this.#hold(next);
      this.#grant();
    };
    return {
      tryChange: (claims) => {
        if (current === undefined) return false;
        const next = claimantOf(current.name, claims, current.userName);
        const added = without(next, current);
        if (this.#inTheWay(added) !== undefined || this.#isAtLimit(added)) return false;
        change(next);
        return true;
      },
      pause: () => {
        const whole = current;
        const atWork = whole?.limited.filter(({ onlyAtWork }) => onlyAtWork === true) ?? [];
        if (whole === undefined || atWork.length === 0) return async () => {};
        change({ ...whole, limited: whole.limited.filter((limit) => !atWork.includes(limit)) });
        return async (signal, onWait) => {
          const working = { ...whole, exclusive: [], shared: [], limited: atWork };
          if (!signal.aborted && this.#isAtLimit(working)) await onWait();
          const granted = await this.#wait(working, signal, true);
          if (granted !== undefined) this.#drop(granted);
          change(current === undefined ? undefined : whole);
        };
      },
      release: () => change(undefined),
    };
  }

  #grant(): void {
    const granted = new Set<Waiter>();
    const free = this.#free();
    for (const isBack of [true, false]) {
      const waiters = free.filter((waiter) => waiter.isBack === isBack);
      const queues = Map.groupBy(waiters, (waiter) => waiter.userName);
      for (let next = this.#next(queues); next !== undefined; next = this.#next(queues)) {
        this.#hold(next);
        this.#servedAt.set(next.userName, ++this.#grants);
        granted.add(next);
      }
    }
    if (granted.size === 0) return;
    this.#waiting = this.#waiting.filter((waiter) => !granted.has(waiter));
    for (const waiter of granted) waiter.granted();
  }

  /** Those that nobody who holds something, or asked for it before, is in the way of. */
  #free(): Waiter[] {
    const exclusive = new Set<string>();
    const shared = new Set<string>();
    return this.#waiting.filter((waiter) => {
      const isBehind =
        waiter.exclusive.some((key) => exclusive.has(key) || shared.has(key)) ||
        waiter.shared.some((key) => exclusive.has(key));
      for (const key of waiter.exclusive) exclusive.add(key);
      for (const key of waiter.shared) shared.add(key);
      return !isBehind && this.#holderInTheWay(waiter) === undefined;
    });
  }

  /** Takes the first below its limits out of the queue of the user who has the fewest under way, or was served longest ago. */
  #next(queues: Map<string, Waiter[]>): Waiter | undefined {
    const held = (user: string): number => this.#heldByUser.get(user) ?? 0;
    const servedAt = (user: string): number => this.#servedAt.get(user) ?? 0;
    const users = [...queues.keys()].toSorted((a, b) => held(a) - held(b) || servedAt(a) - servedAt(b));
    for (const user of users) {
      const queue = queues.get(user) ?? [];
      const index = queue.findIndex((waiter) => !this.#isAtLimit(waiter));
      const [waiter] = index < 0 ? [] : queue.splice(0, index + 1).slice(index);
      // Who was passed over is at a limit, which stays so until something is given back.
      if (queue.length === 0 || waiter === undefined) queues.delete(user);
      if (waiter !== undefined) return waiter;
    }
    return undefined;
  }

  #inTheWay(claimant: Claimant): Claimant | undefined {
    return this.#holderInTheWay(claimant) ?? this.#waiting.find((waiter) => collide(waiter, claimant));
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
    for (const { key } of claimant.limited) count(this.#counts, key, 1);
    count(this.#heldByUser, claimant.userName, 1);
  }

  #drop(claimant: Claimant): void {
    for (const key of claimant.exclusive) this.#exclusive.delete(key);
    for (const key of claimant.shared) {
      const holders = this.#shared.get(key);
      holders?.delete(claimant);
      if (holders?.size === 0) this.#shared.delete(key);
    }
    for (const { key } of claimant.limited) count(this.#counts, key, -1);
    count(this.#heldByUser, claimant.userName, -1);
  }
}

/** What is claimed both ways is claimed exclusively; nobody counts twice. */
function claimantOf(name: string, { exclusive, shared = [], limited = [] }: Claims, userName: string): Claimant {
  const alone = new Set(exclusive);
  const limits = new Map(limited.map((limit) => [limit.key, limit]));
  return { name, exclusive, shared: shared.filter((key) => !alone.has(key)), limited: [...limits.values()], userName };
}

/** What a claimant would have besides what it has. */
function without(next: Claimant, { exclusive, shared, limited }: Claimant): Claimant {
  const counted = new Set(limited.map(({ key }) => key));
  return {
    ...next,
    exclusive: next.exclusive.filter((key) => !exclusive.includes(key)),
    shared: next.shared.filter((key) => !exclusive.includes(key) && !shared.includes(key)),
    limited: next.limited.filter(({ key }) => !counted.has(key)),
  };
}

function count(counts: Map<string, number>, key: string, by: number): void {
  const number = (counts.get(key) ?? 0) + by;
  if (number === 0) counts.delete(key);
  else counts.set(key, number);
}

function collide(one: Claimant, other: Claimant): boolean {
  return (
    one.exclusive.some((key) => other.exclusive.includes(key) || other.shared.includes(key)) ||
    one.shared.some((key) => other.exclusive.includes(key))
  );
}

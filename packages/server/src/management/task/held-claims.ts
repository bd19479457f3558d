/**
 * What one task holds in the claim table. Invariant: all that it claims or nothing: what it claims besides, as it runs, it
 * has at once, or it gives back what it holds and waits for everything together, so that two never wait for each other.
 */
import type { ClaimTable } from "#management/task/claim-table.ts";
import type { Claims } from "#management/task/operation.ts";

export class HeldClaims {
  readonly #table: ClaimTable;
  readonly #task: { readonly id: string; readonly createdBy: string };
  #claims: Claims;
  #releases: (() => void)[] = [];

  constructor(table: ClaimTable, task: { readonly id: string; readonly createdBy: string }, claims: Claims) {
    this.#table = table;
    this.#task = task;
    this.#claims = claims;
  }

  get claims(): Claims {
    return this.#claims;
  }

  /** Waits for them. False when the signal aborts first: then it holds nothing. */
  async acquire(signal: AbortSignal): Promise<boolean> {
    const release = await this.#table.acquire(this.#task.id, this.#claims, signal, this.#task.createdBy);
    if (release !== undefined) this.#releases.push(release);
    return release !== undefined;
  }

  /** True when it holds these, too, from now on; false when somebody holds or waits for one of them. */
  tryExtend(more: Claims): boolean {
    const added = without(more, this.#claims);
    if (added.exclusive.length === 0 && added.shared.length === 0) return true;
    const release = this.#table.tryAcquire(this.#task.id, added);
    if (release === undefined) return false;
    this.#releases.push(release);
    this.#claims = union(this.#claims, added);
    return true;
  }

  /** Gives back what it holds and waits for that and these together. As `acquire`. */
  async exchange(more: Claims, signal: AbortSignal): Promise<boolean> {
    this.release();
    this.#claims = union(this.#claims, without(more, this.#claims));
    return this.acquire(signal);
  }

  /** True when it was free; false when it was waited for. Throws when the signal aborts meanwhile. */
  async claim(more: Claims, signal: AbortSignal, onWait: () => Promise<void>): Promise<boolean> {
    if (this.tryExtend(more)) return true;
    await onWait();
    if (!(await this.exchange(more, signal))) throw signal.reason;
    return false;
  }

  /** While it waits for another try; the result ends that. */
  pause(): () => void {
    return this.#table.pause(this.#claims);
  }

  /** A second time is fine. */
  release(): void {
    for (const release of this.#releases.splice(0)) release();
  }
}

/** Limits count with what they are of: who holds a host already is counted there. */
function without(more: Claims, held: Claims): Required<Claims> {
  const known = new Set([...held.exclusive, ...(held.shared ?? [])]);
  const counted = new Set(held.limited?.map(({ key }) => key));
  return {
    exclusive: more.exclusive.filter((key) => !known.has(key)),
    shared: (more.shared ?? []).filter((key) => !known.has(key)),
    limited: (more.limited ?? []).filter(({ key }) => !counted.has(key)),
  };
}

function union(held: Claims, added: Required<Claims>): Claims {
  return {
    exclusive: [...held.exclusive, ...added.exclusive],
    shared: [...(held.shared ?? []), ...added.shared],
    limited: [...(held.limited ?? []), ...added.limited],
  };
}

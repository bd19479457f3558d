/**
 * What one task holds in the claim table: its own claims, and those of the place that it chose as it runs. Invariants: all
 * that it claims or nothing: a place that is not free is waited for with everything together, while it holds nothing, so
 * that two never wait for each other; and of the places that it chose it holds the last.
 */
import type { ClaimTable, GoOn, Hold } from "#management/task/claim-table.ts";
import type { Claims } from "#management/task/operation.ts";

const nothing: Claims = { exclusive: [] };

export class HeldClaims {
  readonly own: Claims;
  readonly #table: ClaimTable;
  readonly #task: { readonly id: string; readonly createdBy: string };
  #chosen: Claims;
  #hold: Hold | undefined;

  constructor(
    table: ClaimTable,
    task: { readonly id: string; readonly createdBy: string },
    { claims, chosen = nothing }: { readonly claims: Claims; readonly chosen?: Claims | undefined },
  ) {
    this.#table = table;
    this.#task = task;
    this.own = claims;
    this.#chosen = chosen;
  }

  get chosen(): Claims {
    return this.#chosen;
  }

  /** Waits for them. False when the signal aborts first: then it holds nothing. */
  async acquire(signal: AbortSignal): Promise<boolean> {
    this.#hold = await this.#table.acquire(this.#task.id, this.#all(), signal, this.#task.createdBy);
    return this.#hold !== undefined;
  }

  /**
   * Instead of what it chose before. True when that was free; false when it was waited for. Throws when the signal aborts
   * meanwhile: then it holds nothing.
   */
  async choose(chosen: Claims, signal: AbortSignal, onWait: () => Promise<void>): Promise<boolean> {
    this.#chosen = chosen;
    if (this.#hold?.tryChange(this.#all()) === true) return true;
    await onWait();
    this.release();
    if (!(await this.acquire(signal))) throw signal.reason;
    return false;
  }

  /** Waits until nobody has one of these for itself, and holds none of them then. False if nobody had. */
  async untilFree(keys: readonly string[], signal: AbortSignal, onWait: () => Promise<void>): Promise<boolean> {
    const wasFree = await this.choose({ exclusive: [], shared: keys }, signal, onWait);
    await this.choose(nothing, signal, onWait);
    return !wasFree;
  }

  /** While it waits for another try; the result waits until it may go on. */
  pause(): GoOn {
    return this.#hold?.pause() ?? (async () => {});
  }

  /** A second time is fine. */
  release(): void {
    this.#hold?.release();
  }

  #all(): Claims {
    const { own } = this;
    return {
      exclusive: [...own.exclusive, ...this.#chosen.exclusive],
      shared: [...(own.shared ?? []), ...(this.#chosen.shared ?? [])],
      limited: [...(own.limited ?? []), ...(this.#chosen.limited ?? [])],
    };
  }
}

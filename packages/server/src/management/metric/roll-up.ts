/**
 * Makes long-term metrics: every 5 minutes of the samples, and of those what is longer, each level of the one before. What
 * is stored is complete up to the time that is stored with it; after a stop it goes on from there, as far as the level
 * before still reaches. Doing one twice gives the same. When the clock was set back it goes on from the time that it is now.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { metricLevels } from "@innkeeper/contract/resource/metric.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import { type RecentSamples, type Summary, summaryOf } from "#management/metric/recent-samples.ts";
import { decodeRollup, encodeRollup, partOf, parts } from "#management/metric/rollup-code.ts";
import type { Rollup, Store } from "#store/port.ts";

export interface RollUpDeps {
  readonly store: Store;
  readonly recent: RecentSamples;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Slow hosts' samples of an interval come after its end. */
const graceMs = 30_000;
const space = "metric";
const progressKey = "rolled-up";
/** Written at once: others write between. */
const batch = 16;

type Level = (typeof metricLevels)[number];
/** By interval: up to when, in seconds, all is rolled up. */
type Progress = Readonly<Record<string, number>>;

export class RollUp implements AsyncDisposable {
  readonly #deps: RollUpDeps;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(deps: RollUpDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#deps;
    const { signal } = this.#stop;
    const everyMs = metricLevels[1].intervalSeconds * 1000;
    while (!signal.aborted) {
      const dueMs = (Math.floor((clock.now() - graceMs) / everyMs) + 1) * everyMs + graceMs;
      await clock.sleep(Math.max(1000, dueMs - clock.now()), signal).catch(() => undefined);
      if (signal.aborted) return;
      await this.roll(signal).catch((error: unknown) => {
        if (!signal.aborted) log.warn({ err: error }, "metrics could not be rolled up; the next time does it");
      });
    }
  }

  /** All that has ended and is not rolled up. */
  async roll(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#deps;
    const nowSeconds = Math.floor((clock.now() - graceMs) / 1000);
    let progress = (await store.transaction((each) => each.getPrivate(space, progressKey))) as Progress | undefined;
    for (const [index, level] of metricLevels.entries()) {
      const lower = metricLevels[index - 1];
      if (lower === undefined) continue;
      const { intervalSeconds, keptSeconds } = level;
      const end = Math.floor(nowSeconds / intervalSeconds) * intervalSeconds;
      const done = progress?.[intervalSeconds];
      const before = done === undefined || done > end ? end - intervalSeconds : done;
      const first = Math.max(before, end - Math.floor(lower.keptSeconds / intervalSeconds) * intervalSeconds);
      for (let at = first; at < end; at += intervalSeconds) await this.#rollInterval(level, lower, at, signal);
      if (end === before) continue;
      progress = { ...progress, [intervalSeconds]: end };
      await store.transaction(async (transaction) => {
        await transaction.deleteRollups(intervalSeconds, nowSeconds - keptSeconds);
        await transaction.putPrivate(space, progressKey, progress);
      });
    }
  }

  async #rollInterval(level: Level, lower: Level, at: number, signal: AbortSignal): Promise<void> {
    const isFirst = lower === metricLevels[0];
    const byPart = isFirst ? Map.groupBy(this.#deps.recent.ids(), partOf) : undefined;
    let rollups: Rollup[] = [];
    for (const part of byPart?.keys() ?? parts) {
      signal.throwIfAborted();
      // Others have their turn: this is much work at once.
      await nextTurn();
      const summaries = byPart
        ? this.#ofSamples(byPart.get(part) ?? [], at, level)
        : await this.#ofLower(part, at, level, lower);
      if (summaries.size === 0) continue;
      const { intervalSeconds } = level;
      rollups.push({ intervalSeconds, part, atSeconds: at, content: encodeRollup(summaries) });
      if (rollups.length >= batch) {
        await this.#write(rollups);
        rollups = [];
      }
    }
    await this.#write(rollups);
  }

  #ofSamples(ids: readonly string[], at: number, { intervalSeconds }: Level): Map<string, Summary> {
    const summaries = new Map<string, Summary>();
    for (const id of ids) {
      const summary = this.#deps.recent.summary(id, at * 1000, (at + intervalSeconds) * 1000);
      if (summary !== undefined) summaries.set(id, summary);
    }
    return summaries;
  }

  async #ofLower(part: number, at: number, { intervalSeconds }: Level, lower: Level): Promise<Map<string, Summary>> {
    const rollups = await this.#deps.store.transaction((transaction) =>
      transaction.listRollups(lower.intervalSeconds, part, at, at + intervalSeconds),
    );
    const all = rollups.flatMap(({ content }) => [...decodeRollup(content)]);
    const byId = Map.groupBy(all, ([id]) => id);
    return new Map(
      [...byId].flatMap(([id, each]) => {
        const summary = summaryOf(each.map(([, part]) => part));
        return summary === undefined ? [] : [[id, summary]];
      }),
    );
  }

  async #write(rollups: readonly Rollup[]): Promise<void> {
    if (rollups.length === 0) return;
    await this.#deps.store.transaction(async (transaction) => {
      for (const rollup of rollups) await transaction.putRollup(rollup);
    });
  }
}

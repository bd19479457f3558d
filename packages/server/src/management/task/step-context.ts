/** What a step is given, with its progress throttled: the latest of each half second is stored, and no sooner. */
import type { TaskProgress } from "@innkeeper/contract/resource/task.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { TaskJournal } from "#management/task/journal.ts";
import type { StepContext } from "#management/task/operation.ts";

const progressIntervalMs = 500;

interface StepContextDeps {
  readonly journal: TaskJournal;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly repeated: boolean;
  readonly claim: StepContext<unknown>["claim"];
  readonly untilFree: StepContext<unknown>["untilFree"];
  /** Estimate of the remaining time of the task, given the progress of this step. */
  readonly remainingMs: (progress: TaskProgress) => number | undefined;
}

/** The context, and how to end it: after that progress of a step that lingers is ignored. */
export function stepContext(deps: StepContextDeps): { context: StepContext<unknown>; end: () => void } {
  const { journal, clock, signal } = deps;
  const { task } = journal;
  const over = new AbortController();
  let latest: (() => Promise<void>) | undefined;
  let writing = false;

  async function write(): Promise<void> {
    if (writing) return;
    writing = true;
    try {
      while (latest !== undefined && !over.signal.aborted) {
        const save = latest;
        latest = undefined;
        await save();
        await clock.sleep(progressIntervalMs, over.signal);
      }
    } catch (error) {
      if (!over.signal.aborted) deps.log.warn({ err: error }, "progress could not be stored");
    } finally {
      writing = false;
    }
  }

  const resultIfAny = <T>(step: string): T | undefined => journal.record.results[step] as T | undefined;
  const context: StepContext<unknown> = {
    taskId: task.id,
    input: journal.record.input,
    userName: task.createdBy,
    target: task.target,
    repeated: deps.repeated,
    signal,
    log: deps.log,
    resultIfAny,
    result<T>(step: string): T {
      const result = resultIfAny<T>(step);
      if (result === undefined) throw new Error(`step ${step} of ${task.operation} has stored no result`);
      return result;
    },
    claim: deps.claim,
    untilFree: deps.untilFree,
    async keep(name, result) {
      const { results } = journal.record;
      const kept = JSON.parse(JSON.stringify(result)) as typeof result;
      await journal.save({ record: { results: { ...results, [name]: kept } } }, signal);
    },
    progress(progress, message) {
      if (over.signal.aborted) return;
      latest = () => {
        const remainingMs = deps.remainingMs(progress);
        return journal.saveProgress({
          progress,
          ...(message === undefined ? {} : { message }),
          ...(remainingMs === undefined ? {} : { estimatedRemainingMs: remainingMs }),
        });
      };
      void write();
    },
  };
  return { context, end: () => over.abort() };
}

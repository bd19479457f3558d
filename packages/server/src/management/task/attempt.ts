/** Trying a step's work again by a policy; each failure that is not the last is told in the task's message. */
import { AppError, toProblem } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { HeldClaims } from "#management/task/held-claims.ts";
import type { TaskJournal } from "#management/task/journal.ts";
import type { Step } from "#management/task/operation.ts";
import { nextDelayMs, type RetryPolicy } from "#management/task/retry.ts";

interface Attempt {
  readonly step: Step<unknown>;
  readonly journal: TaskJournal;
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal;
  readonly held: HeldClaims | undefined;
}

/** `work` is told which try it is, from 1. */
export async function attempt<T>(
  { clock, log, checkLead }: { readonly clock: Clock; readonly log: Logger; readonly checkLead: () => void },
  { step, journal, policy, signal, held }: Attempt,
  work: (tries: number) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      checkLead();
      signal.throwIfAborted();
      return await work(tries);
    } catch (error) {
      // A refusal is an answer; and only of a first try it is known that nothing was done.
      const isRefused = error instanceof AppError && error.nothingDone;
      const delayMs = signal.aborted || isRefused ? undefined : nextDelayMs(policy, tries, error);
      if (delayMs === undefined) throw error;
      log.info({ err: error, step: step.name, tries, delayMs }, "trying a step again");
      const detail = error instanceof AppError ? error.message : toProblem(error).title;
      const tell = (message: string): Promise<void> =>
        journal
          .saveProgress({ message: `${words(step)}: ${message}` })
          .catch((failure: unknown) => log.warn({ err: failure }, "progress could not be stored"));
      await tell(`trying again (${tries}): ${detail}`);
      const goOn = held?.pause();
      try {
        await clock.sleep(delayMs, signal);
      } finally {
        await goOn?.(signal, () => tell("waiting for its turn to go on"));
      }
    }
  }
}

/** A step's name as people read it. */
export function words(step: Pick<Step<unknown>, "name">): string {
  return step.name.replaceAll("-", " ");
}

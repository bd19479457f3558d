/** What a task had made is gone from its host before the task has ended: a task that says it succeeded has left something. */
import { AppError } from "#core/app-error.ts";

export function removedMeanwhile(what: string): AppError {
  return new AppError(
    "conflict",
    `${what} is there no more: it was removed or stopped on the host while it was being made.`,
    {
      remedy: "Find out who did that, then make it again.",
    },
  );
}

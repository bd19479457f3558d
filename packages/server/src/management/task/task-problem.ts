/** How a task's failure is told: what went wrong, in which step, and what was left as it was. */
import type { Problem } from "@innkeeper/contract/problem.ts";
import { AppError, toProblem } from "#core/app-error.ts";

export function cancelledProblem(): Problem {
  return toProblem(new AppError("cancelled", "It was cancelled; what had been done was undone."));
}

/** A step failed, and everything is being undone. */
export function stepProblem(error: unknown, step: string): Problem {
  const problem = toProblem(error);
  return { ...problem, fault: { ...problem.fault, step } };
}

/** What the undo of a step left as it is, because it is others'. */
export function withLeft(problem: Problem, left: string): Problem {
  return { ...problem, detail: `${problem.detail ?? problem.title} ${left}` };
}

/** A step after the point of no return failed for good: `left` are it and those after it. */
export function unfinishedProblem(error: unknown, left: readonly string[], isMidway: boolean): Problem {
  const problem = toProblem(error);
  const stays = isMidway ? ` What was done before stays; still to do: ${left.join(", ")}.` : "";
  return {
    ...problem,
    detail: `${problem.detail}${stays}`,
    remedy: `${problem.remedy} Then go on with it: inn task retry.`,
    fault: { ...problem.fault, step: left[0], unfinished: left },
  };
}

/** An undo failed for good: `left` are the steps that stay done, `results` what they made. */
export function leftBehindProblem(
  cause: Problem,
  error: unknown,
  left: readonly string[],
  results: Readonly<Record<string, unknown>>,
): Problem {
  const problem = toProblem(error);
  const made = Object.fromEntries(left.flatMap((step) => (step in results ? [[step, results[step]]] : [])));
  return {
    ...cause,
    detail: `${cause.detail} Undoing "${left.at(-1)}" failed: ${problem.detail} These steps were left as they are: ${left.join(", ")}.`,
    remedy: `${problem.remedy} Then undo the rest: inn task retry; or remove by hand what the steps made: fault.left names it.`,
    fault: { ...cause.fault, undoStep: left.at(-1), undoCode: problem.code, left: made },
  };
}

/** The moments at which the control plane is killed: before and after each step of an operation, forward and backward. */
import type { Step } from "#management/task/operation.ts";
import type { StepBoundary, StepPhase } from "#management/task/step-runner.ts";

export interface CrashMoment {
  readonly step: string;
  readonly phase: StepPhase;
  /** Fails after this step, so that it is undone. */
  readonly failAfter?: string;
}

/** Forward: around each step. Backward: around each undo, after a failure of the last step that can be undone. */
export function crashMoments(steps: readonly Pick<Step<never>, "name" | "undo" | "pointOfNoReturn">[]): CrashMoment[] {
  const forward = steps.flatMap(({ name: step }): CrashMoment[] => [
    { step, phase: "before" },
    { step, phase: "after" },
  ]);
  const final = steps.findIndex((step) => step.pointOfNoReturn === true);
  const undoable = (final === -1 ? steps : steps.slice(0, final)).filter((step) => step.undo !== undefined);
  const failAfter = undoable.at(-1)?.name;
  if (failAfter === undefined) return forward;
  const backward = undoable.flatMap(({ name: step }): CrashMoment[] => [
    { step, phase: "undo-before", failAfter },
    { step, phase: "undo-after", failAfter },
  ]);
  return [...forward, ...backward];
}

/** Kills this process at the moment, after `delayMs` if that is given. */
export function killAt({ step, phase, failAfter }: CrashMoment, delayMs?: number): (boundary: StepBoundary) => void {
  return (boundary) => {
    if (boundary.step === step && boundary.phase === phase) {
      if (delayMs === undefined) process.kill(process.pid, "SIGKILL");
      else setTimeout(() => process.kill(process.pid, "SIGKILL"), delayMs);
    }
    if (boundary.step === failAfter && boundary.phase === "after") throw new Error("failed by the test");
  };
}

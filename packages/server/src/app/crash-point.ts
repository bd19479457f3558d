/**
 * A facility for tests: kills this process, as a power cut would, at one moment of one operation. `INN_CRASH_AT` is
 * `<operation>/<step>/<phase>`, the phase one of before, after, undo-before, undo-after: `vm.create/define/after`.
 */
import type { StepBoundary } from "#management/task/step-runner.ts";

export function crashPoint(at: string): (boundary: StepBoundary) => void {
  return ({ operation, step, phase }) => {
    if (at === `${operation}/${step}/${phase}`) process.kill(process.pid, "SIGKILL");
  };
}

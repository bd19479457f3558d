/** Does something once, at a step of a task: how tests meddle with hosts, harm them, or make a task fail, at a known moment. */
import type { StepBoundary, StepPhase } from "#management/task/step-runner.ts";

export class StepTrap {
  #set: { readonly step: string; readonly act: () => void | Promise<void>; readonly phase: StepPhase } | undefined;

  /** The task waits for `act`. In the place of one that was set before. */
  set(step: string, act: () => void | Promise<void>, phase: StepPhase = "before"): void {
    this.#set = { step, act, phase };
  }

  clear(): void {
    this.#set = undefined;
  }

  /** Whether the step has not come yet. */
  get isSet(): boolean {
    return this.#set !== undefined;
  }

  /** For the task engine. */
  readonly onStepBoundary = async ({ step, phase }: StepBoundary): Promise<void> => {
    if (step !== this.#set?.step || phase !== this.#set.phase) return;
    const { act } = this.#set;
    this.#set = undefined;
    await act();
  };
}

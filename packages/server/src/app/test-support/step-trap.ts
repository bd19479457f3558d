/** Does something once, right before a step of a task: how tests meddle with hosts, or harm them, at a known moment. */
import type { StepBoundary } from "#management/task/task-run.ts";

export class StepTrap {
  #set: { readonly step: string; readonly act: () => void | Promise<void> } | undefined;

  /** The step waits for `act`. In the place of one that was set before. */
  set(step: string, act: () => void | Promise<void>): void {
    this.#set = { step, act };
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
    if (step !== this.#set?.step || phase !== "before") return;
    const { act } = this.#set;
    this.#set = undefined;
    await act();
  };
}

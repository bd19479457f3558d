/**
 * A stored task under the steps that its operation has now: another version may have added some or taken some away. It goes
 * on at the step of the same name, and never where a step that it has begun is missing or comes in another order.
 */
import type { TaskStep } from "@innkeeper/contract/resource/task.ts";
import type { TaskRecord } from "#management/task/journal.ts";
import type { Operation } from "#management/task/operation.ts";
import type { Draft } from "#store/port.ts";

interface StoredTask {
  readonly draft: Draft<"task">;
  readonly record: TaskRecord;
}

/** undefined: this version can't go on with it. What was added before the step at the cursor counts as done. */
export function fitSteps({ steps: now }: Operation, { draft, record }: StoredTask): StoredTask | undefined {
  const { steps: stored } = draft;
  const isSame = stored.length === now.length && stored.every(({ name }, index) => name === now[index]?.name);
  if (isSame) return { draft, record };
  const cursor =
    record.direction === "do" && record.cursor === 0 && !record.begun ? 0 : placeOf(record.cursor, stored, now);
  if (cursor === undefined) return undefined;
  const steps = now.map(({ name }, index): TaskStep => {
    const state = index < cursor ? "done" : "pending";
    return stored.find((step) => step.name === name) ?? { name, state };
  });
  const progress = { done: Math.max(cursor, 0), total: now.length, unit: "step" } as const;
  return { draft: { ...draft, steps, progress }, record: { ...record, cursor } };
}

/** Of the stored cursor, if all steps up to there are still there and in that order. */
function placeOf(cursor: number, stored: readonly TaskStep[], now: readonly { readonly name: string }[]) {
  const places = stored.slice(0, cursor + 1).map(({ name }) => now.findIndex((step) => step.name === name));
  if (places.some((place, index) => place <= (places[index - 1] ?? -1))) return undefined;
  const last = places.at(-1) ?? -1;
  return cursor < stored.length ? last : last + 1;
}

/**
 * What changed in a resource since a revision that a client has seen: which fields, from what to what, and which task of
 * whom it was, as far as the change log and the tasks know. A change that no task made came from the host (virsh, the
 * guest), or was made at once by a user.
 */
import { isDeepStrictEqual } from "node:util";
import type { FieldChange } from "@innkeeper/contract/problem.ts";
import { isAbout, type Task } from "@innkeeper/contract/resource/task.ts";
import type { ChangeEntry, ResourceKind, ResourceMap, Store } from "#store/port.ts";

const pageLength = 1000;
/** A client that has seen nothing for longer is told that it changed, not what. */
const pagesMax = 5;
/** Longer values are left out: the resource itself has them. */
const valueMaxLength = 200;
const changesMax = 50;

/** Fields in the order of the document; undefined if the log no longer reaches back to that revision, or it is too long ago. */
export async function fieldChanges(
  store: Store,
  kind: ResourceKind,
  id: string,
  since: number,
): Promise<FieldChange[] | undefined> {
  const entries = await entriesSince(store, since - 1).catch(() => undefined);
  const [first, ...later] = (entries ?? []).filter((entry) => entry.kind === kind && entry.id === id);
  if (entries === undefined || first?.revision !== since || first.resource === undefined) return undefined;
  const last = later.at(-1)?.resource ?? first.resource;
  const versions = [first, ...later];
  return differences(first.resource, last)
    .filter(({ field }) => field !== "revision")
    .slice(0, changesMax)
    .map(({ field, before, after }) => {
      const change = versions.findLast(
        (entry, index) => !isDeepStrictEqual(at(entry.resource, field), at(versions[index - 1]?.resource, field)),
      );
      const maker = change === undefined ? undefined : makerOf(entries, id, change.revision);
      return { field, ...short("before", before), ...short("after", after), ...maker };
    });
}

async function entriesSince(store: Store, since: number): Promise<ChangeEntry[] | undefined> {
  const entries: ChangeEntry[] = [];
  for (let pages = 0; pages < pagesMax; pages++) {
    const page = await store.changesSince(entries.at(-1)?.revision ?? since, pageLength);
    entries.push(...page);
    if (page.length < pageLength) return entries;
  }
  return undefined;
}

/** The task on the resource that was under way at that revision: tasks on one resource run one after the other. */
function makerOf(
  entries: readonly ChangeEntry[],
  id: string,
  revision: number,
): Pick<FieldChange, "by" | "at" | "taskId"> | undefined {
  const states = new Map<string, { task: Task; from: number; to: number }>();
  for (const { kind, resource, revision: at } of entries) {
    if (kind !== "task" || resource === undefined) continue;
    const task = resource as ResourceMap["task"];
    if (!isAbout(task.target, id) || task.startedAt === undefined) continue;
    const known = states.get(task.id);
    // One that ended before the log begins is not here; one that had begun before shows itself with its next entry.
    states.set(task.id, { task, from: known?.from ?? at, to: at });
  }
  const found = [...states.values()].find(
    ({ task, from, to }) => from <= revision && (revision <= to || task.finishedAt === undefined),
  );
  if (found === undefined) return undefined;
  const { createdBy, id: taskId, finishedAt, startedAt } = found.task;
  const time = finishedAt ?? startedAt;
  return { by: createdBy, taskId, ...(time === undefined ? {} : { at: time }) };
}

interface Difference {
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

function differences(before: unknown, after: unknown, field = ""): Difference[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (!isPlain(before) || !isPlain(after)) return [{ field, before, after }];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key) => differences(before[key], after[key], field === "" ? key : `${field}.${key}`));
}

function at(resource: unknown, field: string): unknown {
  return field.split(".").reduce<unknown>((value, key) => (isPlain(value) ? value[key] : undefined), resource);
}

function short<K extends "before" | "after">(key: K, value: unknown): { [P in K]?: unknown } {
  const isShort = value !== undefined && JSON.stringify(value).length <= valueMaxLength;
  return (isShort ? { [key]: value } : {}) as { [P in K]?: unknown };
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

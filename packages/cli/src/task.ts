/**
 * Following a task: progress on standard error, then its end. Ctrl-C never leaves the user in doubt: on a terminal it asks
 * whether to cancel, elsewhere it lets go of the task and says its id. A task that failed is an error with its problem's code.
 */
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { formatDurationMs } from "@innkeeper/contract/unit.ts";
import { ApiClient } from "#client.ts";
import { CliError, problemError, tableError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { documentText } from "#output/format.ts";
import { type ProgressState, progressView } from "#output/progress.ts";
import { ask } from "#terminal.ts";

const endedStates: readonly Task["state"][] = ["succeeded", "failed", "cancelled"];
/** How long the server may hold an answer back; it answers at once when the task ends. */
const pollMs = 400;
/** Undoing may take as long as doing; the task goes on in any case. */
const cancelTimeoutMs = 300_000;

export function isEnded(task: Task): boolean {
  return endedStates.includes(task.state);
}

interface TaskWaitOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs?: number | undefined;
  readonly onProgress?: (task: Task) => void;
}

/** Resolves with the task as it ended, however it ended. */
export async function waitForTask(api: ApiClient, task: Task, options: TaskWaitOptions): Promise<Task> {
  const deadlineMs = options.timeoutMs === undefined ? undefined : performance.now() + options.timeoutMs;
  let current = task;
  while (!isEnded(current)) {
    options.onProgress?.(current);
    if (deadlineMs !== undefined && performance.now() > deadlineMs) {
      throw tableError("timeout", `task ${task.id} (${task.operation}) has not ended yet; it goes on`, {
        remedy: `Watch it with \`inn task show ${task.id} --watch\`.`,
      });
    }
    const input = { parameters: { taskId: task.id }, query: { waitMs: pollMs }, signal: options.signal };
    current = await api.call("taskGet", input);
  }
  return current;
}

/** Throws unless it succeeded. */
export function requireSuccess(task: Task): Task {
  if (task.state === "succeeded") return task;
  if (task.error !== undefined) throw problemError(task.error);
  if (task.state === "cancelled") throw tableError("cancelled", `task ${task.id} (${task.operation}) was cancelled`);
  throw tableError("internal", `task ${task.id} (${task.operation}) failed without a reason`);
}

function progressOf(task: Task): ProgressState {
  const { done, total } = task.progress;
  const step = task.steps.find((candidate) => candidate.state === "running" || candidate.state === "undoing");
  return {
    title: titleOf(task),
    message: task.message || (step?.name ?? task.state),
    fraction: total > 0 ? Math.min(1, done / total) : undefined,
    remainingMs: task.estimatedRemainingMs,
  };
}

export function titleOf(task: Task): string {
  const [noun = "", verb = ""] = task.operation.split(".");
  const target = task.target?.name ?? task.target?.id;
  return `${noun} ${verb}${target === undefined ? "" : ` ${target}`}`;
}

/**
 * What a verb does with the task that its call answered: waits and shows, or prints the id with `--no-wait`. Resolves with
 * the task as it is known then. `done` is the line for people when it succeeded.
 */
export async function followTask(invocation: Invocation, task: Task, done?: (task: Task) => string): Promise<Task> {
  if (invocation.options.flag("wait") === false) {
    invocation.print(invocation.isForPeople ? `${task.id}\n` : await documentText(invocation.format, task));
    return task;
  }
  const ended = requireSuccess(await watchTask(invocation, task));
  const durationMs = Date.parse(ended.finishedAt ?? "") - Date.parse(ended.startedAt ?? ended.createdAt);
  const time = Number.isFinite(durationMs) ? ` (${formatDurationMs(Math.max(0, durationMs))})` : "";
  const remark = ended.result?.["remark"];
  if (typeof remark === "string") invocation.remark(`${remark}\n`);
  if (invocation.isForPeople) invocation.print(`${done?.(ended) ?? `${titleOf(ended)}: done`}${time}\n`);
  else if (invocation.format === "name") invocation.print(`${resourceName(ended)}\n`);
  else invocation.print(await documentText(invocation.format, ended));
  return ended;
}

/** Of what was made or changed. A task that makes something may have no target; its result names it. */
function resourceName(task: Task): string {
  const made = task.result?.["name"];
  return task.target?.name ?? (typeof made === "string" ? made : undefined) ?? task.target?.id ?? task.id;
}

/** Waits with a progress bar. Ctrl-C is answered here while it lasts. */
export async function watchTask(invocation: Invocation, task: Task): Promise<Task> {
  const { terminal } = invocation;
  const view = progressView(terminal.errors, terminal.errorsIsTerminal);
  const timeoutMs = invocation.options.durationMs("timeout");
  let current = task;
  while (true) {
    try {
      return await waitForTask(invocation.api, current, {
        signal: invocation.signal,
        timeoutMs,
        onProgress: (next) => {
          current = next;
          view.update(progressOf(next));
        },
      });
    } catch (error) {
      view.clear();
      if (!invocation.signal.aborted) throw error;
      current = await interrupted(invocation, current);
    } finally {
      view.clear();
    }
  }
}

/** After Ctrl-C: the task, when it was cancelled; otherwise an error that says how to get back to it. */
async function interrupted(invocation: Invocation, task: Task): Promise<Task> {
  const { terminal } = invocation;
  const detached = new CliError(`no longer waiting: task ${task.id} (${task.operation}) goes on`, {
    exitCode: 130, // 128 + SIGINT, as shells count
    remedy: `\`inn task show ${task.id} --watch\` waits again, \`inn task cancel ${task.id}\` stops it and undoes what it did.`,
  });
  if (!terminal.inputIsTerminal || !terminal.errorsIsTerminal) throw detached;
  const cancel = await askToCancel(invocation, task);
  if (!cancel) throw detached;
  terminal.errors.write("cancelling …\n");
  using api = new ApiClient(invocation.api.connection);
  const parameters = { taskId: task.id };
  const asked = await api.call("taskCancel", { parameters, query: {} }).catch(async (error: unknown) => {
    // It ended while the question was on the screen.
    if (error instanceof CliError && error.detail.code === "invalid_state")
      return await api.call("taskGet", { parameters });
    throw error;
  });
  return await waitForTask(api, asked, { signal: AbortSignal.timeout(cancelTimeoutMs) });
}

/** Silence, another Ctrl-C, or anything but yes means: let it go on. */
async function askToCancel(invocation: Invocation, task: Task): Promise<boolean> {
  const question = `\nCancel the task and undo what ${titleOf(task)} did so far? [y/N] `;
  try {
    return /^y(es)?$/i.test((await ask(invocation.terminal, question, AbortSignal.timeout(60_000))).trim());
  } catch {
    return false;
  }
}

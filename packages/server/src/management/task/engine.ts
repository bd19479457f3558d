/**
 * The task engine: records tasks, runs them one after another on each resource, cancels them, and after a start takes up
 * what was unfinished. Invariant: a task that was accepted ends as succeeded, failed or cancelled, whatever crashes; a
 * stop of the server ends none of them.
 */
import { Compile, type Validator } from "typebox/compile";
import { newId } from "@innkeeper/contract/id.ts";
import { isAbout, type Task } from "@innkeeper/contract/resource/task.ts";
import { AppError } from "#core/app-error.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { SecretBox } from "#core/secret-box.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { checkRevision } from "#management/inventory/precondition.ts";
import type { ClaimTable } from "#management/task/claim-table.ts";
import { HeldClaims } from "#management/task/held-claims.ts";
import { DurationHistory } from "#management/task/duration-history.ts";
import { readRecord, TaskJournal, type TaskRecord } from "#management/task/journal.ts";
import type { Operation } from "#management/task/operation.ts";
import { withSharedClaims } from "#management/task/resource-claim.ts";
import {
  findSameRequest,
  fingerprint,
  forgetOldRequests,
  rememberRequest,
  type TaskRequest,
} from "#management/task/task-request.ts";
import { takeOver } from "#management/task/task-retry.ts";
import { withLimits } from "#management/task/task-limit.ts";
import type { StepBoundary } from "#management/task/step-runner.ts";
import { fitSteps } from "#management/task/stored-step.ts";
import { TaskRun } from "#management/task/task-run.ts";
import type { Draft, ResourceKind, Store } from "#store/port.ts";

interface TaskEngineDeps {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly secretBox: SecretBox;
  readonly clock: Clock;
  readonly log: Logger;
  readonly operations: readonly Operation[];
  /** Of the whole control plane: what is no task, such as an upload, claims in it, too. */
  readonly claims: ClaimTable;
  /** Whether this process may still work on hosts, or another one does; it lets go of all tasks when it may not. Absent: it may. */
  readonly leads?: () => boolean;
  /** For tests that kill the process, or meddle with hosts, at every boundary. */
  readonly onStepBoundary?: (boundary: StepBoundary) => void | Promise<void>;
}

/** How long `stop` waits for steps to notice it. */
const stopTimeoutMs = 10_000;
/** The longest pause before a task that stopped unexpectedly goes on. */
const maxPauseMs = 10 * 60_000;

export function hasEnded(task: Pick<Task, "state">): boolean {
  return task.state === "succeeded" || task.state === "failed" || task.state === "cancelled";
}

export class TaskEngine {
  readonly #deps: TaskEngineDeps;
  readonly #operations: ReadonlyMap<string, Operation>;
  readonly #validators = new Map<string, Validator>();
  readonly #durations = new DurationHistory();
  readonly #stop = new AbortController();
  readonly #runs = new Map<string, { readonly run: TaskRun; readonly ended: Promise<void> }>();

  constructor(deps: TaskEngineDeps) {
    this.#deps = deps;
    this.#operations = new Map(deps.operations.map((operation) => [operation.name, operation]));
  }

  get operationNames(): readonly string[] {
    return [...this.#operations.keys()];
  }

  /** Records a task and lets it run when its turn comes. What can't work is refused here, and nothing is recorded. */
  async submit(operationName: string, given: unknown, request: TaskRequest): Promise<Task> {
    this.#checkRunning();
    const operation = this.#operation(operationName);
    this.#checkInput(operation, given);
    const { store, inventory, clock, secretBox } = this.#deps;
    const print = fingerprint(secretBox, operationName, given);
    const same = await this.#sameRequest(request, print);
    if (same !== undefined) return same;
    const target = operation.target(given);
    const input = pinTarget(given, target);
    await this.#checkRevision(target, request);
    await operation.check?.(input);
    const claims = withLimits(operationName, withSharedClaims(inventory, operation.claims(input), target, input));
    const draft = newTask(operation, target, request.userName, timestamp(clock));
    const record: TaskRecord = { input, claims, direction: "do", cursor: 0, begun: false, results: {} };
    const journal = new TaskJournal(this.#deps, draft, record);
    let isStale = false;
    const recorded = store.transaction(async (transaction) => {
      const first = await findSameRequest(transaction, request, print, clock.now());
      const existing = first === undefined ? undefined : await transaction.get("task", first);
      if (existing !== undefined) return existing;
      this.#checkRunning();
      if (request.ifRevision !== undefined && target !== undefined) {
        const present = await transaction.get(target.kind as ResourceKind, target.id);
        isStale = present !== undefined && present.revision !== request.ifRevision;
        if (isStale) throw new AppError("precondition_failed", `${target.id} was changed at this very moment.`);
        this.#refuseBusy(target);
      }
      await rememberRequest(transaction, request, { taskId: draft.id, fingerprint: print, atMs: clock.now() });
      return journal.create(transaction);
    });
    const task = await recorded.catch(async (error: unknown) => {
      if (isStale) await this.#checkRevision(target, request);
      throw error;
    });
    if (task.id === draft.id) this.#start(new TaskRun(this.#runDeps(), operation, journal, this.#runOptions(false)));
    return task;
  }

  /** Stops a task and undoes what it did; the answer is the task as it is now. invalid_state if it is too late for that. */
  async cancel(taskId: string): Promise<Task> {
    const task = this.#deps.inventory.require("task", taskId, { field: "taskId" });
    const run = this.#runs.get(taskId)?.run;
    if (hasEnded(task) || run === undefined) {
      throw new AppError("invalid_state", `The task has ended already: it is ${task.state}.`, { field: "taskId" });
    }
    if (task.cancelRequested || task.state === "rolling-back") return task;
    if (!run.canCancel) {
      throw new AppError(
        "invalid_state",
        `The task is past the point where it could be undone (it is at "${task.message}"); it will be finished.`,
        { field: "taskId", remedy: "Wait for its end." },
      );
    }
    await run.cancel();
    return this.#deps.inventory.require("task", taskId);
  }

  /**
   * Goes on with what a failed task left half-done, in a new task: finishes it if it was past its point of no return,
   * else undoes the rest. invalid_state or conflict, and nothing is recorded, if there is nothing or no way to go on.
   */
  async retry(taskId: string, userName: string): Promise<Task> {
    this.#checkRunning();
    const { store, inventory } = this.#deps;
    const left = inventory.require("task", taskId, { field: "taskId" });
    const operation = this.#operation(left.operation);
    const { task, journal } = await store.transaction(async (transaction) => {
      const { draft, record } = await takeOver(transaction, this.#deps, left, operation, userName);
      const journal = new TaskJournal(this.#deps, draft, record);
      return { journal, task: await journal.create(transaction) };
    });
    this.#start(new TaskRun(this.#runDeps(), operation, journal, this.#runOptions(true)));
    return task;
  }

  /** The task once it has ended, or as it is after `timeoutMs`. */
  async wait(taskId: string, timeoutMs: number, signal?: AbortSignal): Promise<Task> {
    const { inventory } = this.#deps;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    const onAbort = (): void => resolve();
    signal?.addEventListener("abort", onAbort, { once: true });
    const stopListening = inventory.onChange((changes) => {
      const ended = changes.some(
        ({ id, resource }) => id === taskId && (resource === undefined || hasEnded(resource as Task)),
      );
      if (ended) resolve();
    });
    try {
      if (!hasEnded(inventory.require("task", taskId)) && signal?.aborted !== true) await promise;
      return inventory.require("task", taskId);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      stopListening();
    }
  }

  /**
   * Takes up every task that had not ended, in the order in which they were made. To be called once, before anything is
   * submitted and after the providers of all hosts are there (they need not be connected yet). How many there were.
   */
  async resume(): Promise<number> {
    const { store, secretBox, inventory, log } = this.#deps;
    const unfinished = inventory.list("task").filter((task) => !hasEnded(task));
    // Those that ran held their claims: they come before those that waited.
    // By revision, not by time: clocks jump.
    unfinished.sort((a, b) => rank(a) - rank(b) || a.revision - b.revision);
    await store.transaction((transaction) => this.#durations.load(transaction));
    for (const task of unfinished) {
      const record = await store.transaction((transaction) => readRecord(transaction, secretBox, task.id));
      const operation = this.#operations.get(task.operation);
      const { revision: _, ...draft } = task;
      const stored = record && operation && fitSteps(operation, { draft, record });
      if (stored === undefined || operation === undefined) {
        log.error({ taskId: task.id, operation: task.operation }, "a stored task can't be resumed");
        await this.#failUnknown(task);
        continue;
      }
      log.info({ taskId: task.id, operation: task.operation, state: task.state }, "resuming a task");
      const journal = new TaskJournal(this.#deps, stored.draft, stored.record);
      this.#start(new TaskRun(this.#runDeps(), operation, journal, this.#runOptions(true)));
    }
    return unfinished.length;
  }

  /** Forgets what only recent requests need. */
  async prune(): Promise<void> {
    await this.#deps.store.transaction((transaction) => forgetOldRequests(transaction, this.#deps.clock.now()));
  }

  /** Lets go of all tasks as they are, at once: no step is begun any more. Who leads next resumes them. */
  letGo(): void {
    this.#stop.abort(
      new AppError("shutting_down", "The control plane is stopping; the task goes on at its next start."),
    );
  }

  /** Lets go, and waits until the steps that were under way have noticed it. Bounded. */
  async stop(): Promise<void> {
    this.letGo();
    const ended = Promise.all([...this.#runs.values()].map(({ ended }) => ended));
    const timeout = new AbortController();
    const late = this.#deps.clock.sleep(stopTimeoutMs, timeout.signal).then(
      () => this.#deps.log.warn({ tasks: [...this.#runs.keys()] }, "steps did not stop in time"),
      () => undefined,
    );
    await Promise.race([ended, late]);
    timeout.abort();
  }

  #start(run: TaskRun): void {
    const { id } = run.journal.task;
    const ended = this.#runWhenClaimed(run).catch((error: unknown) => {
      this.#deps.log.error({ err: error, taskId: id }, "a task stopped unexpectedly; the next start resumes it");
    });
    this.#runs.set(id, { run, ended });
    void ended.then(() => this.#runs.delete(id));
  }

  async #runWhenClaimed(run: TaskRun): Promise<void> {
    const { task, record } = run.journal;
    const untouched = record.direction === "do" && record.cursor === 0 && !record.begun;
    // What has begun must be undone in its turn; only what has not may leave the queue.
    const signal = untouched ? run.waitSignal : this.#stop.signal;
    const held = new HeldClaims(this.#deps.claims, task, record);
    if (!(await held.acquire(signal))) return this.#untilDone(run, () => run.endUnstarted());
    // Its end is its last write: who sees it may claim at once what it held.
    const stopListening = this.#deps.inventory.onChange((changes) => {
      if (changes.some(({ id, resource }) => id === task.id && resource !== undefined && hasEnded(resource as Task)))
        held.release();
    });
    try {
      await this.#untilDone(run, () => run.run(held));
    } finally {
      stopListening();
      held.release();
    }
  }

  /**
   * What stops a task outside of its steps (a store that is broken, a fault of ours) doesn't end it: half-done, it keeps
   * what it claims, and goes on in a while.
   */
  async #untilDone({ journal }: TaskRun, work: () => Promise<void>): Promise<void> {
    const { clock, log } = this.#deps;
    for (let delayMs = 5_000; ; delayMs = Math.min(delayMs * 2, maxPauseMs)) {
      try {
        return await work();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        log.error(
          { err: error, taskId: journal.task.id, delayMs },
          "a task stopped unexpectedly; it goes on in a while",
        );
        const message = "stopped by a fault of the control plane (see its log); goes on in a while";
        await journal.saveProgress({ message }).catch(() => undefined);
        await clock.sleep(delayMs, this.#stop.signal).catch(() => undefined);
        if (this.#stop.signal.aborted) return;
      }
    }
  }

  async #failUnknown(task: Task): Promise<void> {
    await this.#deps.store.transaction(async (transaction) => {
      const { revision: _, ...draft } = task;
      await transaction.put("task", {
        ...draft,
        state: "failed",
        finishedAt: timestamp(this.#deps.clock),
        error: {
          type: "/problem/internal",
          title: "Internal error",
          status: 500,
          code: "internal",
          detail: `This version of Innkeeper can't resume "${task.operation}": its steps are others. It was left where it was: ${task.message}.`,
          remedy: "Look at what it was about, and put right by hand what is half-done there.",
        },
      });
    });
  }

  async #checkRevision(target: Task["target"], { ifRevision }: TaskRequest): Promise<void> {
    if (ifRevision === undefined || target === undefined) return;
    const { store, inventory } = this.#deps;
    await checkRevision(store, inventory, target.kind as ResourceKind, target.id, ifRevision);
  }

  /** Of two clients with the same ETag one wins: the other is refused even while the winner's task has changed nothing yet. */
  #refuseBusy(target: NonNullable<Task["target"]>): void {
    const other = this.#deps.inventory.list("task").find((task) => !hasEnded(task) && isAbout(task.target, target.id));
    if (other === undefined) return;
    const { id: taskId, operation, createdBy: by, createdAt: at } = other;
    const message = `${target.name ?? target.id} was not touched: task ${taskId} (${operation}) of ${by} is changing it.`;
    const remedy = `Wait for its end (inn task show ${taskId} --watch), read it again and decide anew.`;
    throw new AppError("precondition_failed", message, { remedy, fault: { taskId, operation, by, at } });
  }

  async #sameRequest(request: TaskRequest, print: string): Promise<Task | undefined> {
    if (request.idempotencyKey === undefined) return undefined;
    const { store, inventory, clock } = this.#deps;
    const taskId = await store.transaction((transaction) => findSameRequest(transaction, request, print, clock.now()));
    return taskId === undefined ? undefined : inventory.get("task", taskId);
  }

  #operation(name: string): Operation {
    const operation = this.#operations.get(name);
    if (operation === undefined) throw new AppError("unsupported", `There is no operation ${name}.`);
    return operation;
  }

  #checkInput(operation: Operation, input: unknown): void {
    const validator = this.#validators.get(operation.name) ?? Compile(operation.input);
    this.#validators.set(operation.name, validator);
    if (validator.Check(input)) return;
    const [error] = validator.Errors(input);
    const field = (error?.instancePath ?? "").split("/").slice(1).join(".");
    throw new AppError("invalid_field", `${operation.name}: ${field} ${error?.message ?? "is not valid"}.`, { field });
  }

  #checkRunning(): void {
    if (this.#stop.signal.aborted)
      throw new AppError("shutting_down", "The control plane is stopping. Nothing was done.");
  }

  #runDeps() {
    const { clock, log, leads, onStepBoundary } = this.#deps;
    const checkLead = (): void => {
      if (leads?.() === false) this.letGo();
    };
    return { clock, log, durations: this.#durations, checkLead, ...(onStepBoundary && { onStepBoundary }) };
  }

  #runOptions(resumed: boolean) {
    return { stop: this.#stop.signal, resumed };
  }
}

/**
 * The input with the target's id where it had its name: in the queue the name may come to mean another. Inputs name their
 * target by its path parameter: `vmId`, `hostId`.
 */
function pinTarget(input: unknown, target: Task["target"]): unknown {
  if (target === undefined || typeof input !== "object" || input === null) return input;
  const field = `${target.kind.replace("storage-", "")}Id`;
  return field in input ? { ...input, [field]: target.id } : input;
}

function rank(task: Task): number {
  return task.state === "queued" ? 1 : 0;
}

function newTask(operation: Operation, target: Task["target"], userName: string, now: string): Draft<"task"> {
  return {
    id: newId("task"),
    operation: operation.name,
    ...(target === undefined ? {} : { target }),
    state: "queued",
    cancelRequested: false,
    progress: { done: 0, total: operation.steps.length, unit: "step" },
    message: "waiting for its turn",
    steps: operation.steps.map((step) => ({ name: step.name, state: "pending" })),
    createdBy: userName,
    createdAt: now,
  };
}

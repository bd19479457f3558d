/**
 * Makes a stored state that may be older than the world ready to meet it: what it says of guests is known as old until
 * their hosts were asked, tasks that were under way then are ended (to repeat a step of them now could destroy what
 * was done since), and nobody is logged in by it. Hosts are the truth of their guests: host sync does the rest.
 */
import { newId } from "@innkeeper/contract/id.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { AppError, toProblem } from "#core/app-error.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import { credentialSpace, type Credential } from "#management/access/credential-table.ts";
import { markForRecheck } from "#management/reconcile/snapshot-restore.ts";
import { hasEnded } from "#management/task/engine.ts";
import { taskSpace } from "#management/task/journal.ts";
import type { Store, StoreTransaction } from "#store/port.ts";

interface RecheckReason {
  /** Of the event that tells of it: `system.restored`, `system.recovered`. */
  readonly type: string;
  /** A sentence without its full stop: `The control plane was restored from a backup of …`. */
  readonly message: string;
}

export async function prepareForRecheck(store: Store, clock: Clock, reason: RecheckReason): Promise<void> {
  const at = timestamp(clock);
  await store.transaction(async (transaction) => {
    for (const vm of await transaction.list("vm")) {
      await transaction.put("vm", { ...vm, state: "unknown", stateDetail: "its host has not been asked since" });
      await markForRecheck(transaction, vm.id);
    }
    for (const task of await transaction.list("task")) {
      if (!hasEnded(task)) await transaction.put("task", endedTask(task, reason, at));
    }
    for (const { key } of await transaction.listPrivate(taskSpace)) await transaction.deletePrivate(taskSpace, key);
    await endSessions(transaction);
    await transaction.put("event", {
      id: newId("event"),
      time: at,
      type: reason.type,
      severity: "warning",
      message: reason.message,
      resources: [],
    });
  });
}

function endedTask(task: Task, reason: RecheckReason, at: string): Task {
  const error = new AppError("store_unavailable", `${reason.message}, while this task was under way.`, {
    remedy: "Look at what it left on the host, and start it anew if it is still wanted.",
    retryable: false,
  });
  return { ...task, state: "failed", message: "", finishedAt: at, estimatedRemainingMs: 0, error: toProblem(error) };
}

async function endSessions(transaction: StoreTransaction): Promise<void> {
  for (const { key, value } of await transaction.listPrivate(credentialSpace)) {
    if ((value as Credential).type === "session") await transaction.deletePrivate(credentialSpace, key);
  }
}

/** Get-Task, Wait-Task and Stop-Task. */
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { usageError } from "#cli-error.ts";
import { listAll } from "#list.ts";
import { isIdOf } from "#lookup.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import type { Parameter } from "#powercli/signature.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { taskKind, taskObject, taskStates } from "#powercli/object/task.ts";
import { watchTask } from "#task.ts";

const taskParameter: Parameter = {
  name: "Task",
  list: true,
  position: 0,
  required: true,
  pipeline: true,
  help: "the tasks, by id, or what -RunAsync prints",
};

/** A list without -Status or -Id is of the latest. */
const latest = 100;

export const getTask: Cmdlet = {
  name: "Get-Task",
  summary: `List tasks: the latest ${latest}, or those in a state.`,
  operations: ["taskList", "taskGet"],
  parameters: [
    { name: "Status", position: 0, words: taskStates, help: "only those in this state" },
    { name: "Id", list: true, help: "only these" },
  ],
  examples: ["Get-Task", "Get-Task -Status Running", "Get-Task -Status Error -o json"],
  run: async (run) => {
    const { api, bound } = run;
    if (bound.has("Id")) {
      await each(run, bound.texts("Id"), async (task) => run.write(taskKind, taskObject(task)));
      return;
    }
    const status = bound.text("Status");
    const limit = status === undefined ? { limit: latest } : {};
    const { items } = await listAll(api, "taskList", { sort: "-createdAt", ...limit });
    for (const object of items.map(taskObject)) {
      if (status === undefined || object.State === status) run.write(taskKind, object);
    }
  },
};

export const waitTask: Cmdlet = {
  name: "Wait-Task",
  summary: "Wait for tasks to end.",
  operations: ["taskGet"],
  parameters: [taskParameter],
  examples: ["Start-VM web -RunAsync | inn Wait-Task"],
  run: async (run) => {
    const ids = (await run.references("Task")).map(({ text }) => text);
    await each(run, ids, async (task) => run.write(taskKind, taskObject(await run.finished(task))));
  },
};

export const stopTask: Cmdlet = {
  name: "Stop-Task",
  summary: "Stop tasks and undo what they did.",
  operations: ["taskCancel"],
  impact: "asks",
  parameters: [taskParameter],
  examples: ["Get-Task -Status Running | inn Stop-Task -Confirm:$false"],
  run: async (run) => {
    const ids = (await run.references("Task")).map(({ text }) => text);
    await each(run, ids, async (task) => {
      if (!(await run.agreed("Stop task", `${task.operation} ${task.target?.name ?? task.id}`))) return;
      const asked = await run.api.call("taskCancel", { parameters: { taskId: task.id }, query: {} });
      run.write(taskKind, taskObject(await watchTask(run.invocation, asked)));
    });
  },
};

async function each(run: CmdletRun, ids: readonly string[], action: (task: Task) => Promise<void>): Promise<void> {
  for (const id of ids) {
    await run.attempt(async () => {
      if (!isTaskId(id)) throw usageError(`"${id}" is no id of a task`, "`inn Get-Task -o wide` shows them.");
      await action(await run.api.call("taskGet", { parameters: { taskId: id }, query: {} }));
    });
  }
}

function isTaskId(text: string): text is Task["id"] {
  return isIdOf("task", text);
}

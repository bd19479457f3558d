/** `inn task …`: what runs, ran, and why it failed. */
import type { Command } from "commander";
import { runList } from "#list.ts";
import { taskColumns, taskText } from "#page/task.ts";
import { followTask, titleOf, watchTask } from "#task.ts";
import { addVerb, listOptions, type Surroundings, taskOptions } from "#verb.ts";

export function addTask(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List tasks, newest first.",
    operations: ["taskList"],
    options: listOptions,
    examples: ["task list --limit 20", "task list --filter state=failed", "task list --filter state=running --watch"],
    run: async (invocation) => {
      const kinds = ["task"];
      const sort = "-createdAt";
      await runList(invocation, {
        operation: "taskList",
        kinds,
        columns: taskColumns,
        rows: (_api, items) => items,
        sort,
      });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <task>",
    summary: "Show a task with its steps; with --watch, when it has ended.",
    operations: ["taskGet"],
    options: (command) =>
      command
        .option("-w, --watch", "show its progress until it ends")
        .option("--timeout <duration>", "stop waiting after this time (the task goes on)"),
    run: async (invocation, id) => {
      const found = await invocation.api.call("taskGet", { parameters: { taskId: id }, query: {} });
      const task = invocation.options.flag("watch") === true ? await watchTask(invocation, found) : found;
      await invocation.show(task, () => taskText(task));
    },
  });
  addVerb(noun, surroundings, {
    usage: "cancel <task>",
    summary: "Stop a task and undo what it did.",
    operations: ["taskCancel"],
    options: taskOptions,
    run: async (invocation, id) => {
      const task = await invocation.api.call("taskCancel", { parameters: { taskId: id }, query: {} });
      if (invocation.options.flag("wait") === false) {
        await followTask(invocation, task);
        return;
      }
      const ended = await watchTask(invocation, task);
      await invocation.show(ended, () => `task ${ended.id}: ${ended.state}\n`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "retry <task>",
    summary: "Go on with what a failed task left half-done: finish it, or undo the rest.",
    operations: ["taskRetry"],
    options: taskOptions,
    examples: ["task retry task-3k9w0c7m2x5q"],
    run: async (invocation, id) => {
      const task = await invocation.api.call("taskRetry", { parameters: { taskId: id }, query: {} });
      await followTask(invocation, task, (ended) => {
        const undone = ended.result?.["undone"];
        return `${titleOf(ended)}: ${Array.isArray(undone) ? `undone what task ${id} had left` : "finished"}`;
      });
    },
  });
}

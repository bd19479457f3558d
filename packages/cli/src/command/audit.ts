/** `inn audit …`: who asked for what, from where, and what became of it. */
import type { Command } from "commander";
import type { AuditEntry } from "@innkeeper/contract/resource/audit.ts";
import { usageError } from "#cli-error.ts";
import { runList } from "#list.ts";
import { filterOf } from "#lookup.ts";
import type { Column } from "#output/table.ts";
import { localTime } from "#output/time.ts";
import { addVerb, positive, type Surroundings } from "#verb.ts";

/** An entry never changes. */
type Row = AuditEntry & { readonly revision: 0 };

const columns: readonly Column<Row>[] = [
  { name: "time", value: (entry) => localTime(Date.parse(entry.time)) },
  { name: "user", value: (entry) => entry.user ?? "" },
  { name: "address", value: (entry) => entry.address },
  { name: "action", value: (entry) => entry.action },
  { name: "target", value: (entry) => entry.target ?? "" },
  { name: "result", value: (entry) => entry.errorCode ?? entry.result },
  { name: "task", value: (entry) => entry.taskId ?? "", extra: true },
  { name: "credential", value: (entry) => entry.credential ?? "", extra: true },
  { name: "method", value: (entry) => entry.method, extra: true },
  { name: "path", value: (entry) => entry.path, extra: true },
  { name: "status", value: (entry) => String(entry.httpStatus), extra: true, right: true },
  { name: "unanswered", value: (entry) => (entry.unanswered === true ? "yes" : ""), extra: true },
  { name: "ms", value: (entry) => String(entry.durationMs), extra: true, right: true },
  { name: "request", value: (entry) => entry.requestId, extra: true },
  { name: "id", value: (entry) => entry.id, extra: true },
];

export function addAudit(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List the audit trail: every request to the API, newest first.",
    operations: ["auditList"],
    options: (command) =>
      command
        .option("--changes", "only what was meant to change something: no reads")
        .option("--user <name>", "only this user's")
        .option("--filter <condition>", "only what matches, as with other lists")
        .option("--limit <n>", "at most so many", positive, "50")
        .option("--columns <names>", "only these columns, comma-separated"),
    details: `The trail is also in files of JSON lines: audit.log and older ones in the folder audit of the state folder.`,
    examples: [
      "audit list --changes",
      "audit list --user admin --filter result=refused",
      "audit list --filter 'action~vm and time>2026-11-23T08' -o wide",
    ],
    run: async (invocation) => {
      const user = invocation.options.text("user");
      if (user !== undefined && /["\\]/.test(user)) throw usageError(`--user: "${user}" is no user's name`);
      const conditions = [
        ...(invocation.options.flag("changes") === true ? ["method!=GET"] : []),
        ...(user === undefined ? [] : [`user="${user}"`]),
      ];
      await runList(invocation, {
        operation: "auditList",
        kinds: [],
        columns,
        ...filterOf(conditions),
        rows: (_api, items): Row[] => items.map((item) => ({ ...item, revision: 0 })),
      });
    },
  });
}

/** Whether a VM can move, for people: a table of hosts, or all that is to be said about one host. */
import type {
  HostMigrationReport,
  MigrationFinding,
  MigrationVerdict,
  VmMigrationReport,
} from "@innkeeper/contract/resource/migration.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { type Column, tableText } from "#output/table.ts";

const verdictWords: Readonly<Record<MigrationVerdict, string>> = {
  ok: "can move",
  warning: "can move, see warnings",
  error: "can't move",
};

const host: Column<HostMigrationReport> = { name: "host", value: ({ hostName }) => hostName };
/** Shown where there are clusters. */
const cluster: Column<HostMigrationReport> = { name: "cluster", value: ({ clusterName = "" }) => clusterName };
const others: readonly Column<HostMigrationReport>[] = [
  { name: "verdict", value: ({ verdict }) => verdictWords[verdict] },
  { name: "copies", value: ({ copyBytes }) => (copyBytes === 0 ? "" : formatBytes(copyBytes)), right: true },
  { name: "why", value: why },
];

function why({ findings }: HostMigrationReport): string {
  const [gravest] = graved(findings);
  if (gravest === undefined) return "";
  const more = findings.length - 1;
  return more === 0 ? gravest.message : `${gravest.message} (and ${more} more)`;
}

export function migrationTable({ hosts }: VmMigrationReport, width?: number): string {
  const columns = hosts.some(({ clusterName }) => clusterName !== undefined) ? [host, cluster] : [host];
  return tableText(hosts, [...columns, ...others], width);
}

export function hostReportText({ vmName, live }: VmMigrationReport, report: HostMigrationReport): string {
  const how = live ? "while it runs" : "while it is off";
  const head = `${vmName} to ${report.hostName}, ${how}: ${verdictWords[report.verdict]}`;
  return `${[head, ...graved(report.findings).map(findingText)].join("\n")}\n`;
}

/** Two lines: what is so, and what to do. */
export function findingText({ severity, check, message, remedy }: MigrationFinding): string {
  const first = `  ${severity.padEnd(7)}  ${check}: ${message}`;
  return remedy === "" ? first : `${first}\n           what to do: ${remedy}`;
}

/** Errors first. */
function graved(findings: readonly MigrationFinding[]): MigrationFinding[] {
  const order = ["error", "warning", "info"];
  return findings.toSorted((left, right) => order.indexOf(left.severity) - order.indexOf(right.severity));
}

/** `inn vm migrate`: moves a VM, or tells whether and where it could move. */
import type { Command } from "commander";
import type { HostMigrationReport, VmMigrationReport } from "@innkeeper/contract/resource/migration.ts";
import type { VmMigrate } from "@innkeeper/contract/resource/vm.ts";
import { formatDurationMs } from "@innkeeper/contract/unit.ts";
import { tableError, usageError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { find } from "#lookup.ts";
import { given } from "#option/given.ts";
import { findingText, hostReportText, migrationTable } from "#page/migration.ts";
import { followTask } from "#task.ts";
import { addVerb, type Surroundings, taskOptions } from "#verb.ts";

export function addMigrate(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "migrate <vm> [host]",
    summary: "Move a VM to another host: live if it runs, cold if it does not.",
    operations: ["vmMigrate", "vmMigrationCheck"],
    options: (command) =>
      taskOptions(command)
        .option("--check", "move nothing: tell whether it could, what is in the way, and what to do about it")
        .option("--bandwidth <MiB/s>", "at most so fast")
        .option("--max-downtime <duration>", "how long the guest may stand still: 300ms")
        .option("--copy-disks", "copy disks that are not on shared storage")
        .option("--post-copy", "finish by post-copy if memory changes faster than it can be sent")
        .option("--auto-converge", "slow the guest down if its memory changes too fast")
        .option("--encrypt", "send memory and copied disks over TLS, with QEMU's certificates on the hosts"),
    details:
      "With --check and no host, all other hosts are examined. Its exit code is 0 when the VM can move\n(there may be warnings), else that of what is in the way.",
    examples: [
      "vm migrate web kvm2",
      "vm migrate web kvm2 --copy-disks --bandwidth 200",
      "vm migrate web kvm2 --check",
      "vm migrate web kvm2 --check --encrypt",
      "vm migrate web --check",
    ],
    run: (invocation, vmName, hostName) =>
      invocation.options.flag("check") === true
        ? check(invocation, vmName, hostName)
        : move(invocation, vmName, hostName),
  });
}

async function move(invocation: Invocation, vmName = "", hostName?: string): Promise<void> {
  const { options, api } = invocation;
  if (hostName === undefined)
    throw usageError("to which host?", "Name one; `inn vm migrate <vm> --check` tells which could take it.");
  const [vm, host] = await Promise.all([find(api, "vm", vmName), find(api, "host", hostName)]);
  const body: VmMigrate = {
    host: host.id,
    ...given({
      bandwidthMiBps: options.integer("bandwidth"),
      maxDowntimeMs: options.durationMs("maxDowntime"),
      copyDisks: options.flag("copyDisks"),
      postCopy: options.flag("postCopy"),
      autoConverge: options.flag("autoConverge"),
      encrypt: options.flag("encrypt"),
    }),
  };
  const task = await api.call("vmMigrate", { parameters: { vmId: vm.id }, body });
  await followTask(invocation, task, (ended) => {
    const downtimeMs = ended.result?.["downtimeMs"];
    const downtime = typeof downtimeMs === "number" ? `, standing still for ${formatDurationMs(downtimeMs)}` : "";
    const warnings = warningsOf(ended.result).map((finding) => `\n${findingText(finding)}`);
    return `moved ${vm.name} to ${host.name}${downtime}${warnings.join("")}`;
  });
}

function warningsOf(result: Readonly<Record<string, unknown>> | undefined): HostMigrationReport["findings"] {
  const findings = result?.["findings"];
  if (!Array.isArray(findings)) return [];
  return (findings as HostMigrationReport["findings"]).filter(({ severity }) => severity === "warning");
}

async function check(invocation: Invocation, vmName = "", hostName?: string): Promise<void> {
  const { options, api } = invocation;
  const [vm, host] = await Promise.all([
    find(api, "vm", vmName),
    hostName === undefined ? undefined : find(api, "host", hostName),
  ]);
  const body = given({
    host: host?.id,
    copyDisks: options.flag("copyDisks"),
    postCopy: options.flag("postCopy"),
    encrypt: options.flag("encrypt"),
  });
  const report = await api.call("vmMigrationCheck", { parameters: { vmId: vm.id }, body });
  await invocation.show(report, () => textOf(invocation, report, host !== undefined));
  const [first] = report.hosts;
  if (report.hosts.some(({ verdict }) => verdict !== "error")) return;
  if (first === undefined) throw tableError("not_found", "there is no other host that it could move to");
  const code = first.findings.find(({ severity }) => severity === "error")?.code ?? "unsupported";
  const where = host === undefined ? "to any host" : `to ${host.name}`;
  throw tableError(code, `${vm.name} can't move ${where} as it is`, { remedy: "" });
}

function textOf(invocation: Invocation, report: VmMigrationReport, isDetailed: boolean): string {
  const [only] = report.hosts;
  if (isDetailed && only !== undefined) return hostReportText(report, only);
  return migrationTable(report, invocation.terminal.width());
}

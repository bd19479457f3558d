/** What is said about a VM that could move: gravest first, with what to do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { VmMigrationReport } from "@innkeeper/contract/resource/migration.ts";
import { hostReportText, migrationTable } from "#page/migration.ts";

const report: VmMigrationReport = {
  vmId: "vm-000000000000",
  vmName: "web",
  fromHostId: "host-000000000000",
  live: true,
  hosts: [
    {
      hostId: "host-000000000001",
      hostName: "kvm2",
      verdict: "error",
      copyBytes: 0,
      findings: [
        { check: "version", severity: "warning", message: "It is older.", remedy: "Upgrade it." },
        { check: "network", severity: "error", message: "It has no network dmz.", remedy: "Create it." },
        { check: "snapshot", severity: "info", message: "Its checkpoint stays.", remedy: "" },
      ],
    },
    { hostId: "host-000000000002", hostName: "kvm3", verdict: "ok", copyBytes: 1024 ** 3, findings: [] },
  ],
};

test("hosts are a table: whether it can move, what is copied, and the gravest reason", () => {
  assert.equal(
    migrationTable(report),
    [
      "HOST  VERDICT     COPIES  WHY",
      "kvm2  can't move       -  It has no network dmz. (and 2 more)",
      "kvm3  can move     1 GiB  -",
      "",
    ].join("\n"),
  );
});

test("where there are clusters, each host's is shown", () => {
  const hosts = report.hosts.map((host, index) => (index === 0 ? { ...host, clusterName: "production" } : host));
  assert.deepEqual(
    migrationTable({ ...report, hosts })
      .split("\n")
      .map((line) => line.slice(0, 16)),
    ["HOST  CLUSTER   ", "kvm2  production", "kvm3  -         ", ""],
  );
});

test("of one host everything is said, errors first", () => {
  const [host] = report.hosts;
  assert(host !== undefined);
  assert.equal(
    hostReportText(report, host),
    [
      "web to kvm2, while it runs: can't move",
      "  error    network: It has no network dmz.",
      "           what to do: Create it.",
      "  warning  version: It is older.",
      "           what to do: Upgrade it.",
      "  info     snapshot: Its checkpoint stays.",
      "",
    ].join("\n"),
  );
});

/** Whether, and to where, a VM can move, as its administrator asks and reads it: a real server, two real hosts. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { VmMigrationReport } from "@innkeeper/contract/resource/migration.ts";
import { LabServer } from "#test-support/lab-server.ts";

suite("inn vm migrate --check", { timeout: 600_000 }, () => {
  let plane: LabServer;
  before(async () => {
    plane = await LabServer.up({ name: `migrate-cli-${process.pid}`, hostCount: 2 });
    const devices = ["--disk", "16M,pool=local", "--network", "lab"];
    await plane.output("vm", "create", "--name", "web", "--host", "h1", "--memory", "64M", ...devices, "--start");
  });
  after(async () => {
    await plane?.[Symbol.asyncDispose]();
  });

  test("says what is in the way of one host, and what to do, and ends as an error", async () => {
    const { exitCode, output, errors } = await plane.inn(["vm", "migrate", "web", "h2", "--check"]);
    assert.equal(exitCode, 69, errors);
    assert.match(
      output,
      /^web to h2, while it runs: can't move\n {2}error {4}disk: Disk vda \(.*\): host h2 does not reach it/,
    );
    assert.match(output, /what to do: Put it on a shared pool, or let it be copied \(copyDisks; up to/);
    assert.match(errors, /^error: web can't move to h2 as it is\n/);
  });

  test("shows all hosts at a glance, and all of it as data", async () => {
    const table = await plane.inn(["vm", "migrate", "web", "--check", "--copy-disks"]);
    assert.equal(table.exitCode, 0, table.errors);
    assert.match(table.output, /^HOST {2}VERDICT +COPIES {2}WHY\nh2 {4}can move +\d.* Disk vda .* is copied/);
    const json = await plane.inn(["vm", "migrate", "web", "--check", "--copy-disks", "-o", "json"]);
    const report = JSON.parse(json.output) as VmMigrationReport;
    assert.equal(report.vmName, "web");
    assert.equal(report.live, true);
    assert.partialDeepStrictEqual(report.hosts, [{ hostName: "h2", verdict: "ok", findings: [{ check: "disk" }] }]);
  });

  test("what was told is so: it is refused, with the same words, and moves when the disks are copied", async () => {
    const refused = await plane.inn(["vm", "migrate", "web", "h2"]);
    assert.equal(refused.exitCode, 69, refused.errors);
    assert.match(
      refused.errors,
      /host h2 does not reach it.* Nothing was moved\.\n.*\n? *what to do: Put it on a shared pool/s,
    );
    const moved = await plane.inn(["vm", "migrate", "web", "h2", "--copy-disks"]);
    assert.equal(moved.exitCode, 0, moved.errors);
    const nowhere = await plane.inn(["vm", "migrate", "web", "h2", "--check"]);
    assert.match(nowhere.output, /VM web is on host h2 already/);
    const unnamed = await plane.inn(["vm", "migrate", "web"]);
    assert.equal(unnamed.exitCode, 64);
    assert.match(unnamed.errors, /to which host\?/);
  });
});

/**
 * The pre-flight of a migration on two real hosts: each row makes a VM unfit to move, or questionable, for one reason, and
 * must be told exactly that one, and what to do. What one machine's hosts can't differ in (CPU makers, versions of QEMU and
 * libvirt, its size) is pretended in a host's document, or is a row of management/vm/migration-check.test.ts.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { AppError } from "#core/app-error.ts";
import { ControlPlane, labAccess } from "./test-support/control-plane.ts";
import { labState } from "./test-support/lab-state.ts";
import { deviceRows } from "./test-support/migration-device-row.ts";
import { machineRows } from "./test-support/migration-machine-row.ts";
import { domainXml, examineRow, pretend, type Scene, type Undo } from "./test-support/migration-row.ts";
import {
  mac,
  otherUuid,
  nic,
  onLab,
  define,
  demandLogin,
  giveLogin,
  hideCertificates,
  loginUri,
  virsh,
} from "./test-support/migration-row-part.ts";

describe("the pre-flight of a migration", { timeout: 900_000 }, () => {
  let scene: Scene;
  let folder: string;

  before(async () => {
    const lab = await Lab.up({ name: `migcheck-${process.pid}`, hostCount: 2 });
    folder = await mkdtemp(path.join(tmpdir(), "inn-migcheck-"));
    await demandLogin(lab.host("h2"));
    const plane = await ControlPlane.open({ folder, access: await labAccess(lab) });
    scene = { lab, plane, h1: lab.host("h1"), h2: lab.host("h2") };
  });

  after(async () => {
    await scene?.plane[Symbol.asyncDispose]();
    await scene?.lab.down();
    await rm(folder, { recursive: true, force: true });
  });

  for (const live of [{ live: true }, {}] as const) {
    test(`has nothing against a VM that ${"live" in live ? "runs" : "is off"}, and leaves no trace`, async () => {
      const state = await labState(scene.lab);
      const request = { encrypt: true };
      const row = { check: "host", severity: "info", what: "", words: /./, request, ...live } as const;
      assert.partialDeepStrictEqual(await examineRow(scene, { ...row, devices: onLab }), {
        verdict: "ok",
        findings: [],
      });
      assert.deepEqual(await labState(scene.lab), state);
    });
  }

  for (const row of [...machineRows, ...deviceRows]) {
    test(`tells: ${row.what}`, async () => {
      const report = await examineRow(scene, row);
      const told = JSON.stringify(report.findings, undefined, 1);
      assert.equal(report.verdict, row.severity === "info" ? "ok" : row.severity, told);
      const found = report.findings.find(({ check, severity }) => check === row.check && severity === row.severity);
      assert(found !== undefined, told);
      assert.match(found.message, row.words);
      assert(row.severity === "info" || found.remedy.length > 10, told);
      if (row.remedy !== undefined) assert.match(found.remedy, row.remedy);
      const others = report.findings.filter(({ check, severity }) => check !== row.check && severity !== "info");
      assert.deepEqual(others, []);
    });
  }

  test("has nothing against a target whose login the source has", async () => {
    const row = { check: "host", severity: "info", what: "", words: /./ } as const;
    const before = async (): Promise<Undo> => {
      const undo = await pretend(scene, "h2", () => ({ uri: loginUri(scene) }));
      const undoLogin = await giveLogin(scene);
      return async () => {
        await undoLogin();
        await undo();
      };
    };
    assert.deepEqual((await examineRow(scene, { ...row, before })).findings, []);
  });

  test("refuses the migration itself with the same findings, before anything is touched", async () => {
    const { lab, plane, h1 } = scene;
    await h1.exec(["sh", "-c", define("define", domainXml(otherUuid, {}, nic("network", "network='dmz'")))]);
    const call = { signal: AbortSignal.timeout(60_000) };
    await plane.deps.hostSync.syncVm(plane.host("h1").id, otherUuid, call);
    const rowId = plane.vm("row").id;
    const state = await labState(lab);
    const input = { vmId: rowId, request: { host: "h2" } };
    await assert.rejects(plane.run("vm.migrate", input), (error: unknown) => {
      assert(error instanceof AppError);
      assert.partialDeepStrictEqual(error.fault, { findings: [{ check: "network", severity: "error", device: mac }] });
      return true;
    });
    const cpu =
      "<cpu mode='custom' match='exact'><model>qemu64</model><feature policy='require' name='avx512f'/></cpu>";
    await h1.exec(["sh", "-c", define("define", domainXml(otherUuid, { parts: cpu }, ""))]);
    await plane.deps.hostSync.syncVm(plane.host("h1").id, otherUuid, call);
    const task = await plane.run("vm.migrate", input);
    assert.equal(task.state, "failed");
    assert.partialDeepStrictEqual(task.error?.fault, { findings: [{ check: "cpu", severity: "error" }] });
    assert.match(task.error?.remedy ?? "", /CPU model that both hosts have/);
    assert.deepEqual(await labState(lab), state);
    await h1.exec(["virsh", "-q", "undefine", "row"]);
  });

  test("an encrypted migration without certificates there is refused before anything moves", async () => {
    const { lab, plane, h1 } = scene;
    const show = await hideCertificates(scene);
    try {
      await h1.exec(["sh", "-c", define("create", domainXml(otherUuid, {}, ""))]);
      await h1.exec(["sh", "-c", define("define", domainXml(otherUuid, {}, ""))]);
      await plane.deps.hostSync.syncVm(plane.host("h1").id, otherUuid, { signal: AbortSignal.timeout(60_000) });
      const state = await labState(lab);
      const task = await plane.run("vm.migrate", { vmId: plane.vm("row").id, request: { host: "h2", encrypt: true } });
      assert.equal(task.state, "failed");
      assert.match(task.error?.detail ?? "", /pki\/qemu.*VM row is on host h1 as before \(running\)/s);
      assert.deepEqual(await labState(lab), state);
    } finally {
      await show();
      await h1.exec(["sh", "-c", `${virsh("destroy row")}; ${virsh("undefine row")}`]);
    }
  });

  test("tells that a host is gone", async () => {
    const { plane, h2 } = scene;
    await h2.killLibvirtd();
    await plane.until("a lost host", () => plane.host("h2").connectionState === "unreachable" || undefined, 60_000);
    const row = { check: "host", severity: "error", what: "", words: /./ } as const;
    const { findings } = await examineRow(scene, row);
    assert.match(findings[0]?.message ?? "", /h2 is not connected \(unreachable\)/);
  });
});

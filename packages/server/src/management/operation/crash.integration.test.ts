/**
 * kill -9 of the control plane before and after every step, forward and backward, of every operation on VMs and snapshots,
 * on real hosts: after the next start the task is finished or undone, and no domain, volume, file or document is left
 * over. The cases come from the operations themselves; an operation without a scenario fails the test.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import { ControlPlane, labAccess } from "#app/test-support/control-plane.ts";
import type { CrashCase, CrashRun } from "#app/test-support/crash-child.ts";
import { scenarios } from "#app/test-support/crash-scenario.ts";
import type { Operation } from "#management/task/operation.ts";
import { vmOperations } from "./vm-table.ts";

const child = path.join(import.meta.dirname, "../../app/test-support/crash-child.ts");
const lifeMs = 300_000;

test("kill -9 around every step of every operation leaves nothing half-done", { timeout: 3_600_000 }, async () => {
  await using lab = await Lab.up({ name: `crash-${process.pid}`, hostCount: 2 });
  const folder = await mkdtemp(path.join(tmpdir(), "inn-crash-"));
  try {
    const access = await labAccess(lab);
    const cases = await casesOf(folder, access);
    console.log(`${cases.length} moments of death`);
    for (let index = 0; index <= cases.length; index++) {
      const { code, signal, output } = await live({ labName: lab.name, folder, access, cases, index });
      const killed = signal === "SIGKILL";
      assert(index < cases.length ? killed : code === 0, `${JSON.stringify(cases[index])}\n${output}`);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

async function casesOf(folder: string, access: CrashRun["access"]): Promise<CrashCase[]> {
  await using plane = await ControlPlane.open({ folder, access });
  const only = process.env["INNKEEPER_CRASH_ONLY"];
  return vmOperations(plane.deps).flatMap((operation) => {
    const own = scenarios.filter((scenario) => scenario.operation === operation.name);
    assert(own.length > 0, `operation ${operation.name} has no scenario: add one to crash-scenario.ts`);
    return own
      .filter(({ title }) => only === undefined || title.includes(only))
      .flatMap(({ title }) => momentsOf(title, operation));
  });
}

/** Forward: before and after each step. Backward: the same, after a failure of the last step that can be undone. */
function momentsOf(title: string, { steps }: Operation): CrashCase[] {
  const forward = steps.flatMap(({ name: step }): CrashCase[] => [
    { title, step, phase: "before" },
    { title, step, phase: "after" },
  ]);
  const final = steps.findIndex((step) => step.pointOfNoReturn === true);
  const reversible = final === -1 ? steps : steps.slice(0, final);
  const undoable = reversible.filter((step) => step.undo !== undefined);
  const failAfter = undoable.at(-1)?.name;
  if (failAfter === undefined) return forward;
  const backward = undoable.flatMap(({ name: step }): CrashCase[] => [
    { title, step, phase: "undo-before", failAfter },
    { title, step, phase: "undo-after", failAfter },
  ]);
  return [...forward, ...backward];
}

async function live(run: CrashRun): Promise<{ code: number | null; signal: string | null; output: string }> {
  const file = path.join(run.folder, "run.json");
  await writeFile(file, JSON.stringify(run), { mode: 0o600 });
  const life = spawn(process.execPath, [child, file], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [life.stdout, life.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const timer = setTimeout(() => life.kill("SIGKILL"), lifeMs);
  const [code, signal] = (await once(life, "close")) as [number | null, string | null];
  clearTimeout(timer);
  process.stdout.write(output);
  return { code, signal, output };
}

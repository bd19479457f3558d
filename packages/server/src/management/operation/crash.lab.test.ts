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
import { crashMoments } from "#app/test-support/crash-moment.ts";
import { scenarios } from "#app/test-support/crash-scenario.ts";
import type { Scenario } from "#app/test-support/crash-situation.ts";
import type { Operation } from "#management/task/operation.ts";

const child = path.join(import.meta.dirname, "../../app/test-support/crash-child.ts");
const lifeMs = 300_000;

const only = process.env["INNKEEPER_CRASH_ONLY"];

for (const scenario of scenarios.filter((each) => only === undefined || each.title.includes(only))) {
  const { title, operation } = scenario;
  test(`kill -9 around every step: ${title}`, { timeout: 1_800_000 }, () =>
    withPlane(async (plane, lab, folder) => {
      const found = plane.wiring.operations.find(({ name }) => name === operation);
      assert(found !== undefined, `there is no operation ${operation}`);
      const cases = momentsOf(scenario, found);
      const access = await labAccess(lab);
      await plane[Symbol.asyncDispose]();
      for (let index = 0; index <= cases.length; index++) {
        const { code, signal, output } = await live({ labName: lab.name, folder, access, cases, index });
        assert(index < cases.length ? signal === "SIGKILL" : code === 0, `${JSON.stringify(cases[index])}\n${output}`);
      }
    }),
  );
}

async function withPlane(work: (plane: ControlPlane, lab: Lab, folder: string) => Promise<void>): Promise<void> {
  await using lab = await Lab.up({ name: `crash-${process.pid}`, hostCount: 2 });
  const folder = await mkdtemp(path.join(tmpdir(), "inn-crash-"));
  try {
    const plane = await ControlPlane.open({ folder, access: await labAccess(lab) });
    await work(plane, lab, folder);
    await plane[Symbol.asyncDispose]();
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Around each step, forward and backward, and in the midst of long ones. */
function momentsOf({ title, during, steps: busy }: Scenario, { steps }: Operation): CrashCase[] {
  const midst: CrashCase[] = during === undefined ? [] : [{ title, phase: "before", ...during }];
  const around = crashMoments(steps.filter(({ name }) => busy?.includes(name) ?? true));
  return [...midst, ...around.map((moment) => ({ title, ...moment }))];
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

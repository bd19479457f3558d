/**
 * Runs test files in phases with node's test runner, and reports all phases as one run: one list of failures, one set
 * of closing lines. Invariant: a run without a test, a file without a test, a skip or todo without a reason are
 * failures. Facts: nodejs.org/docs/latest-v26.x/api/test.html, "run()" and "Event".
 */
import path from "node:path";
import { run } from "node:test";
import { spec, type TestEvent } from "node:test/reporters";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export interface Phase {
  readonly files: readonly string[];
  readonly concurrency: number;
}

export interface TestRunResult {
  readonly passed: boolean;
  /** Why the run counts as failed although no test did. */
  readonly complaints: readonly string[];
  /** From the root. */
  readonly failedFiles: readonly string[];
}

/** The crash matrix restarts the control plane, and boots guests, a few hundred times. */
const fileTimeoutMs = 45 * 60_000;
// The order in which node prints them.
const summaryKeys = ["tests", "suites", "pass", "fail", "cancelled", "skipped", "todo", "duration_ms"] as const;
type SummaryKey = (typeof summaryKeys)[number];

export async function runTests(phases: readonly Phase[], root: string, signal: AbortSignal): Promise<TestRunResult> {
  const totals = new Map<SummaryKey, number>(summaryKeys.map((key) => [key, 0]));
  const complaints: string[] = [];
  const failed = new Set<string>();
  async function* events(): AsyncGenerator<TestEvent> {
    for (const { files, concurrency } of phases.filter((phase) => phase.files.length > 0)) {
      const options = { files: [...files], concurrency, cwd: root, signal, timeout: fileTimeoutMs, watch: false };
      for await (const event of run(options) as AsyncIterable<TestEvent>) {
        complaints.push(...complaintsAbout(event, root, files));
        if (event.type === "test:fail") failed.add(path.relative(root, event.data.file ?? event.data.name));
        if (!addToTotals(event, totals)) yield event;
      }
    }
    for (const [key, value] of totals) {
      yield { type: "test:diagnostic", data: { nesting: 0, message: `${key} ${value}`, level: "info" } } as TestEvent;
    }
  }
  await pipeline(Readable.from(events()), new spec(), process.stdout, { end: false });
  if ((totals.get("tests") ?? 0) === 0) complaints.push("no test ran");
  const bad = (totals.get("fail") ?? 0) + (totals.get("cancelled") ?? 0);
  return { passed: bad === 0 && complaints.length === 0, complaints, failedFiles: [...failed] };
}

/** A closing line of one phase is counted and swallowed. */
function addToTotals(event: TestEvent, totals: Map<SummaryKey, number>): boolean {
  if (event.type !== "test:diagnostic" || event.data.nesting !== 0) return false;
  const [, name, value] = /^(\w+) ([\d.]+)$/u.exec(event.data.message) ?? [];
  const key = summaryKeys.find((candidate) => candidate === name);
  if (key === undefined) return false;
  totals.set(key, (totals.get(key) ?? 0) + Number(value));
  return true;
}

function complaintsAbout(event: TestEvent, root: string, files: readonly string[]): string[] {
  if (event.type !== "test:pass" && event.type !== "test:fail") return [];
  const { name, skip, todo } = event.data;
  // A file without a test is reported as one test that has the file's name.
  const isFile =
    event.type === "test:pass" && files.some((file) => path.resolve(root, file) === path.resolve(root, name));
  if (isFile) return [`${path.relative(root, path.resolve(root, name))} has no test`];
  if (skip === true || skip === "") return [`"${name}" is skipped without a reason`];
  if (todo === true || todo === "") return [`"${name}" is a todo without a reason`];
  return [];
}

/**
 * `inn demo`: the whole way from nothing to a guest that moved between two hosts, in one command, through the public API.
 * It begins by removing what an earlier demo left, and leaves its datacenter running. A step that fails says what, why and
 * where the logs are; `inn demo --down` removes everything, whatever state it is in.
 */
import { hash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { labRoot } from "@innkeeper/lab/layout.ts";
import { machineLock } from "@innkeeper/lab/machine-lock.ts";
import { formatDurationMs } from "@innkeeper/contract/unit.ts";
import { CliError } from "#cli-error.ts";
import { programCommand, runCommand } from "#program/command-line.ts";
import { buildDatacenter, type Datacenter } from "#program/demo/datacenter.ts";
import { tour } from "#program/demo/guest-tour.ts";
import { demoLayout, demoName, type DemoLayout } from "#program/demo/layout.ts";
import { Report, StepError, summaryText } from "#program/demo/report.ts";
import { takeDown } from "#program/demo/teardown.ts";
import type { ProgramContext } from "#program-name.ts";

const lockTimeoutMs = 1000;
const launcher = path.resolve(import.meta.dirname, "../../../../inn");

export async function demo(argv: readonly string[], { signal }: ProgramContext): Promise<number> {
  const command = programCommand("inn demo", "Real guests on two real libvirt hosts on this machine. Needs root.")
    .option("--down", "remove the demo and everything it made")
    .action(async ({ down }: { down?: boolean }) => {
      if (process.getuid?.() !== 0)
        throw new Error("the demo needs root: its hosts have namespaces, bridges and mounts of their own");
      const layout = demoLayout();
      using _lock = await lock(layout);
      process.exitCode = down === true ? await remove(layout) : await show(layout, signal);
    });
  return await runCommand(command, argv, signal);
}

async function lock(layout: DemoLayout): Promise<Disposable> {
  try {
    return await machineLock(`demo-${hash("sha256", layout.folder).slice(0, 16)}`, { timeoutMs: lockTimeoutMs });
  } catch (error) {
    throw new Error("another `inn demo` is at work on this machine; wait until it has ended", { cause: error });
  }
}

async function remove(layout: DemoLayout): Promise<number> {
  console.log(
    (await takeDown(layout))
      ? "the demo is gone: no process, namespace, mount, bridge or file is left"
      : "there is no demo",
  );
  return 0;
}

async function show(layout: DemoLayout, signal: AbortSignal): Promise<number> {
  const startMs = performance.now();
  const report = new Report(process.stdout, process.stdout.isTTY === true);
  try {
    if (await takeDown(layout)) report.say("removed the demo that was here before");
    await mkdir(layout.folder, { recursive: true, mode: 0o755 });
    const datacenter = await buildDatacenter(layout, report, signal);
    using _api = datacenter.api;
    const rows = await tour(datacenter, layout, report, signal);
    report.say(ending(datacenter, [...rows, ["everything", formatDurationMs(performance.now() - startMs)]]));
    return 0;
  } catch (error) {
    report.say(signal.aborted ? interruption() : failure(layout, error));
    return signal.aborted ? 130 : 1;
  }
}

function ending(datacenter: Datacenter, rows: readonly (readonly [string, string])[]): string {
  const inn = `${launcherAsTyped()} --server ${demoName}`;
  return `
${summaryText(rows)}

The datacenter runs on: ${datacenter.url}
  user ${datacenter.user}, password ${datacenter.password}

Try:
  ${inn} vm list
  ${inn} vm show web
  ${inn} vm console web-clone    # a root shell; Ctrl-] leaves it
  ${inn} vm migrate web ${datacenter.hosts[0]?.name ?? "h1"}
  ${inn} event list --limit 20

Remove everything: ${launcherAsTyped()} demo --down`;
}

/** The launcher as one can type it here: `inn` where it is on the PATH, else its path from this folder. */
function launcherAsTyped(): string {
  const folders = (process.env["PATH"] ?? "").split(path.delimiter);
  if (folders.includes(path.dirname(launcher))) return "inn";
  const relative = path.relative(process.cwd(), launcher);
  if (!relative.startsWith("..")) return `./${relative}`;
  return launcher;
}

function interruption(): string {
  return `interrupted; what was made so far is removed by: ${launcherAsTyped()} demo --down`;
}

function failure(layout: DemoLayout, error: unknown): string {
  const cause = error instanceof StepError ? error.cause : error;
  const remedy = cause instanceof CliError ? cause.detail.remedy : undefined;
  const stack = cause instanceof Error && !(cause instanceof CliError) ? `\n${cause.stack ?? ""}` : "";
  return `
The demo failed${error instanceof StepError ? ` at: ${error.title}` : ""}
  why         ${cause instanceof Error ? cause.message : String(cause)}${remedy === undefined ? "" : `\n  what to do  ${remedy}`}
  logs        ${layout.serverLog} (control plane)
              ${layout.consoleLog("web")} (what the guest said)
              ${path.join(labRoot(), layout.labName)}/host/*/libvirt-log (libvirt and QEMU of each host)
  again       ${launcherAsTyped()} demo            starts anew
  clean up    ${launcherAsTyped()} demo --down     removes everything${process.env["INN_DEBUG"] === undefined ? "" : stack}`;
}

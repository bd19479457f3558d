/**
 * The demo as a newcomer runs it: up, every figure of its summary, the commands that it prints, and that nothing is left of
 * it afterwards, also of one that failed. Needs root; takes as long as the demo.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { findLeftovers } from "@innkeeper/lab/leftover.ts";
import { Lab } from "@innkeeper/lab/lab.ts";

const demoTimeoutMs = 300_000;
const commandTimeoutMs = 60_000;
const launcher = path.resolve(import.meta.dirname, "../../../../inn");

interface Ended {
  readonly exitCode: number | null;
  readonly output: string;
  readonly errors: string;
}

suite("inn demo", { timeout: 900_000 }, () => {
  const labName = `demo-${process.pid}`;
  let folder: AsyncDisposable & { readonly path: string };
  let environment: Record<string, string | undefined>;

  /** A command line as one types it in a shell. */
  async function shell(line: string, timeoutMs = commandTimeoutMs, extra: Record<string, string> = {}): Promise<Ended> {
    const child = spawn("/bin/sh", ["-c", line], {
      env: { ...environment, ...extra },
      cwd: path.dirname(launcher),
      signal: AbortSignal.timeout(timeoutMs),
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    const [output, errors, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
    return { exitCode, output, errors };
  }

  before(async () => {
    folder = await mkdtempDisposable(path.join(tmpdir(), "inn-demo-"));
    environment = {
      ...process.env,
      INNKEEPER_DEMO_FOLDER: path.join(folder.path, "state"),
      INNKEEPER_DEMO_LAB: labName,
      XDG_CONFIG_HOME: path.join(folder.path, "config"),
      INN_SERVER: "",
      INN_TOKEN: "",
    };
  });
  after(async () => {
    await shell("./inn demo --down");
    await folder[Symbol.asyncDispose]();
  });

  async function nothingIsLeft(): Promise<void> {
    assert.equal(existsSync(path.join(folder.path, "state")), false, "the state folder");
    assert.equal(existsSync(path.join(folder.path, "config/innkeeper")), false, "the configuration");
    assert.ok(!(await Lab.list()).includes(labName), "the lab");
    const left = (await findLeftovers(folder.path)).filter(
      (line) => line.includes(folder.path) && !line.includes("file"),
    );
    assert.deepEqual(left, []);
  }

  test("shows every step, and what it prints works as printed", async () => {
    const { exitCode, output, errors } = await shell("./inn demo", demoTimeoutMs);
    assert.equal(exitCode, 0, `${output}\n${errors}`);
    assert.ok(!output.includes("✘"), output);
    for (const figure of [
      /start two libvirt hosts.*\d/,
      /NUMA node 0 with CPUs/,
      /KVM: no \(/,
      /declare pool "shared" shared/,
      /start to shell prompt +\d/,
      /address of the guest +10\.77\./,
      /snapshot with memory +\d/,
      /before → after → revert → before/,
      /linked clone +\d/,
      /downtime of it +\d+ ms/,
      /the same boot goes on/,
      /vCPUs pinned +0→0, 1→1/,
      /memory balloon +\d+ → \d+ MiB/,
      /disk added +vdb, 64 MiB/,
      /https:\/\/127\.0\.0\.1:\d+/,
      /user admin, password \S+/,
    ]) {
      assert.match(output, figure);
    }
    const commands = output.split("\n").filter((line) => line.startsWith("  ./inn --server demo "));
    assert.equal(commands.length, 5);
    for (const command of commands) {
      // The console is for a terminal: here it is given its input.
      const isConsole = command.includes(" console ");
      const line = isConsole ? `echo hostname | ${command.replace("#", "--pipe --linger 3s #")}` : command;
      const result = await shell(line);
      if (isConsole) assert.match(result.output, /hostname\s+guest/, command);
      else assert.equal(result.exitCode, 0, `${command}: ${result.errors}`);
    }
    const shown = await shell("./inn --server demo vm show web");
    for (const part of [/addresses +10\.77\./, /vCPU 0 pinned to host CPUs 0/, /golden-moment/, /vdb /, /host +h1/]) {
      assert.match(shown.output, part);
    }
  });

  test("--down leaves nothing, and is content when there is nothing", async () => {
    assert.match((await shell("./inn demo --down")).output, /is gone/);
    await nothingIsLeft();
    assert.match((await shell("./inn demo --down")).output, /there is no demo/);
  });

  test("a failure says what, why, where the logs are, and leaves nothing that --down does not remove", async () => {
    // No lab can have this name.
    const { exitCode, output } = await shell("./inn demo", demoTimeoutMs, { INNKEEPER_DEMO_LAB: "No-Such-Name" });
    assert.equal(exitCode, 1);
    assert.match(output, /The demo failed/);
    assert.match(output, /why +"No-Such-Name" is no name for a lab/);
    assert.match(output, /logs +.*server\.log/);
    assert.match(output, /clean up +\.\/inn demo --down/);
    await shell("./inn demo --down");
    await nothingIsLeft();
  });
});

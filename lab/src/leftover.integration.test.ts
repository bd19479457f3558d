/** What is planted is found: a process, a file, an interface of a dead lab. Needs root. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { run } from "#command.ts";
import { Lab } from "#lab.ts";
import { interfaceNameOf } from "#layout.ts";
import { findLeftovers } from "#leftover.ts";

/** The folder as the tests' runner makes it: files of this run go below tmp. */
async function runFolder(): Promise<AsyncDisposable & { path: string }> {
  const folder = await mkdtempDisposable(path.join(tmpdir(), "leftover-"));
  await mkdir(path.join(folder.path, "tmp"));
  return { path: folder.path, [Symbol.asyncDispose]: () => folder.remove() };
}

test("a machine as it was has no leftovers, also beside a lab that runs", async () => {
  await using folder = await runFolder();
  await using _other = await Lab.up({ name: `other-${process.pid}`, hostCount: 1 });
  assert.deepEqual(await findLeftovers(folder.path), []);
});

test("a process, a file and a folder are found", async () => {
  await using folder = await runFolder();
  const child = spawn("sleep", ["60"], { env: { ...process.env, PLANTED: path.join(folder.path, "x") } });
  await once(child, "spawn");
  try {
    await mkdir(path.join(folder.path, "tmp/forgotten"));
    await writeFile(path.join(folder.path, "tmp/forgotten/file"), "");
    const found = await findLeftovers(folder.path);
    assert.equal(found.filter((line) => line === `process ${child.pid}: sleep 60`).length, 1, found.join("\n"));
    assert(found.includes(`file: ${path.join(folder.path, "tmp/forgotten/file")}`), found.join("\n"));
    assert(found.includes(`file: ${path.join(folder.path, "tmp/forgotten")}`), found.join("\n"));
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
});

test("a lab of this run and the interface of a dead one are found", async () => {
  await using folder = await runFolder();
  const lab = await Lab.up({ name: "mine", hostCount: 1, folder: path.join(folder.path, "mine") });
  const name = interfaceNameOf(path.join(folder.path, "dead"));
  await run(["ip", "link", "add", name, "type", "bridge"]);
  await run(["ip", "link", "set", name, "alias", path.join(folder.path, "dead")]);
  try {
    const found = await findLeftovers(folder.path);
    assert(
      found.some((line) => line.startsWith("process") && line.includes("innkeeper-lab:")),
      found.join("\n"),
    );
    assert(found.includes(`network interface: ${name}`), found.join("\n"));
    await lab.down();
    assert.deepEqual(await findLeftovers(folder.path), [`network interface: ${name}`]);
  } finally {
    await lab.down();
    await run(["ip", "link", "delete", name]);
  }
});

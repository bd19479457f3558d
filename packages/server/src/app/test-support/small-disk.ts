/** A program that is given a small file system of its own, which it may fill: in a namespace, gone with it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const timeoutMs = 110_000;

/** The program's first argument is the folder; it says `recovered` at its end. */
export async function onSmallDisk(sizeMiB: number, program: URL): Promise<void> {
  // A test's own folder is for root alone, a database's server is another user.
  const folder = await mkdtemp("/var/tmp/inn-full-");
  try {
    const script = `mount -t tmpfs -o size=${sizeMiB}m tmpfs "$1" && exec "$2" "$3" "$1"`;
    const argv = ["--mount", "sh", "-c", script, "sh", folder, process.execPath, fileURLToPath(program)];
    const ran = spawnSync("unshare", argv, { encoding: "utf8", timeout: timeoutMs });
    const needsRoot = "(it needs root: it mounts a small file system in a namespace of its own)";
    assert.equal(ran.status, 0, `${ran.stdout}\n${ran.stderr} ${needsRoot}`);
    assert.match(ran.stdout, /recovered/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The disk of the state full, while a server runs on it and while a backup is brought back. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

test(
  "a full disk: reads go on, writes are refused with 507, all goes on when there is space",
  { timeout: 120_000 },
  async (context) => {
    const folder = await mkdtemp(path.join(tmpdir(), "inn-full-"));
    context.after(() => rm(folder, { recursive: true, force: true }));
    const script = 'mount -t tmpfs -o size=16m tmpfs "$1" && exec "$2" "$3" "$1"';
    const child = path.join(import.meta.dirname, "full-disk.child.ts");
    const argv = ["--mount", "sh", "-c", script, "sh", folder, process.execPath, child];
    const ran = spawnSync("unshare", argv, { encoding: "utf8", timeout: 110_000 });
    assert.equal(
      ran.status,
      0,
      `${ran.stderr} (it needs root: it mounts a small file system in a namespace of its own)`,
    );
    assert.match(ran.stdout, /recovered/);
  },
);

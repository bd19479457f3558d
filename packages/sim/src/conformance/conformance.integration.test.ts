// The same calls to a real libvirtd and to a simulated one: what they answer, how they refuse, and in what order they tell
// of what happened must be the same.
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "@innkeeper/libvirt";
import { daemonUnavailable, startDaemon } from "@innkeeper/libvirt/testing/daemon.ts";
import type { Daemon } from "@innkeeper/libvirt/testing/daemon.ts";
import { parts } from "./part.ts";
import { DISK_BYTES, IMAGES, simulatedPair } from "./simulated.ts";
import { differences, transcribed } from "./transcript.ts";
import type { Pair } from "./simulated.ts";

describe("conformance", { skip: daemonUnavailable() ?? false, timeout: 180_000 }, () => {
  let real: readonly [Daemon, Daemon];
  let folder: string;
  let simulated: Pair["open"];
  const openReal: Pair["open"] = [
    () => connect(`qemu+unix:///system?socket=${real[0].socket}`),
    () => connect(`qemu+unix:///system?socket=${real[1].socket}`),
  ];
  before(async () => {
    // Memory goes from one to the other over the loopback that they share.
    const first = await startDaemon({ ownNetwork: true });
    real = [first, await startDaemon({ networkOf: first })];
    folder = join(first.folder, "images");
    mkdirSync(folder);
    for (const name of IMAGES)
      execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", join(folder, name), String(DISK_BYTES)]);
    simulated = simulatedPair(folder).open;
  });
  after(() => Promise.all(real.map((each) => each.stop())));

  for (const part of parts) {
    test(part.name, async () => {
      const expected = await transcribed(part, openReal, folder);
      const actual = await transcribed(part, simulated, folder);
      assert.ok(expected.length > 10);
      const found = differences(expected, actual);
      assert.equal(found.length, 0, `${found.length} of ${expected.length} answers differ:\n${found.join("\n")}`);
    });
  }
});

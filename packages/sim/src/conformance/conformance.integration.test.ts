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
import type { Connection } from "@innkeeper/libvirt";
import { RealClock } from "#host/clock.ts";
import { newImage } from "#host/file/image.ts";
import { STANDARD_NODE } from "#host/node/shape.ts";
import { SimHost } from "#host/sim-host.ts";
import { procedureTable } from "#procedure/table.ts";
import { SimDaemon } from "#rpc/daemon.ts";
import { parts } from "./part.ts";
import { Transcript, differences } from "./transcript.ts";

const DISK_BYTES = 67_108_864;
const IMAGES = ["a.qcow2", "b.qcow2"];

/** As the machine of the tests: no KVM. */
function simulated(folder: string): () => Promise<Connection> {
  const host = new SimHost({ name: "sim", clock: new RealClock(), seed: 1, node: { ...STANDARD_NODE, hasKvm: false } });
  host.files.makeFolder(folder, { mode: 0o755, uid: 0, gid: 0 });
  for (const name of IMAGES)
    host.files.createImage(join(folder, name), { mode: 0o600, uid: 0, gid: 0 }, newImage("qcow2", DISK_BYTES));
  const daemon = new SimDaemon(host, procedureTable);
  return () => connect("qemu:///system", { dial: () => daemon.dial() });
}

describe("conformance", { skip: daemonUnavailable() ?? false, timeout: 180_000 }, () => {
  let real: Daemon;
  let folder: string;
  let openSimulated: () => Promise<Connection>;
  before(async () => {
    real = await startDaemon({ ownNetwork: true });
    folder = join(real.folder, "images");
    mkdirSync(folder);
    for (const name of IMAGES)
      execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", join(folder, name), String(DISK_BYTES)]);
    openSimulated = simulated(folder);
  });
  after(() => real.stop());

  for (const { name, run } of parts) {
    test(name, async () => {
      const transcripts: string[][] = [];
      for (const open of [() => connect(`qemu+unix:///system?socket=${real.socket}`), openSimulated]) {
        await using connection = await open();
        const transcript = new Transcript(connection, folder);
        await run(transcript);
        transcripts.push(transcript.lines);
      }
      const [expected = [], actual = []] = transcripts;
      assert.ok(expected.length > 10);
      const found = differences(expected, actual);
      assert.equal(found.length, 0, `${found.length} of ${expected.length} answers differ:\n${found.join("\n")}`);
    });
  }
});

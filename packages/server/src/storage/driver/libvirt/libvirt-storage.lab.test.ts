/** The storage driver against a real daemon, where hands and crashes change things behind libvirt's back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { connect } from "@innkeeper/libvirt";
import { labAccess } from "#app/test-support/control-plane.ts";
import { folder, type StorageBench, storageOn, storageSuite } from "./test-support/storage-suite.ts";

async function labBench(name: string): Promise<StorageBench & { readonly host: LabHost }> {
  await Lab.down(name);
  const lab = await Lab.up({ name, hostCount: 1 });
  const host = lab.host("h1");
  const { tls } = await labAccess(lab);
  const connection = await connect(host.uri, {
    tls: { ca: tls.caCertificate, cert: tls.clientCertificate, key: tls.clientKey },
  });
  const run = async (...words: string[]): Promise<void> => void (await host.exec(words));
  return {
    host,
    connection,
    files: {
      create: (path, sizeBytes) => run("truncate", "-s", String(sizeBytes), path),
      fill: (path, sizeBytes) => run("sh", "-c", `head -c ${sizeBytes} /dev/zero | tr '\\0' x > ${path}`),
      write: async (path, text) => void (await host.exec(["sh", "-c", `cat > ${path}`], { input: text })),
      read: async (path) => (await host.exec(["cat", path])).stdout,
      remove: (path) => run("rm", path),
    },
    [Symbol.asyncDispose]: async () => {
      await connection.close();
      await lab.down();
    },
  };
}

storageSuite(
  "storage driver",
  () => labBench("storage-driver"),
  (bench) => {
    const call = { signal: AbortSignal.timeout(120_000) };

    test("a volume that can't be read is not taken for one that is gone, and can be deleted", async () => {
      const { host, connection } = bench();
      const { volume } = storageOn(connection);
      const file = `${folder}/odd.raw`;
      await volume.createVolume({ poolName: "p1", name: "odd.raw", format: "raw", capacityBytes: 1 << 20 }, call);
      await host.exec(["sh", "-c", `rm ${file} && mkfifo ${file}`]);
      await assert.rejects(volume.findVolume("p1", "odd.raw", call), { code: "host_failed" });
      await assert.rejects(volume.findVolumeByPath(file, call), { code: "host_failed" });
      assert.deepEqual(
        (await volume.listVolumes("p1", call)).filter((each) => each.name === "odd.raw"),
        [],
      );
      await volume.deleteVolume("p1", "odd.raw", call);
      await host.exec(["test", "!", "-e", file]);
      // Its file was removed by hand: libvirt forgets it, too.
      await volume.createVolume({ poolName: "p1", name: "odd.raw", format: "raw", capacityBytes: 1 << 20 }, call);
      await host.exec(["rm", file]);
      await volume.deleteVolume("p1", "odd.raw", call);
      assert.equal(await volume.findVolume("p1", "odd.raw", call), undefined);
    });
  },
);

/** The storage driver against a simulated host: the same as against a real one. */
import { connect } from "@innkeeper/libvirt";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import { SimHost } from "@innkeeper/sim/host/sim-host.ts";
import { procedureTable } from "@innkeeper/sim/procedure/table.ts";
import { SimDaemon } from "@innkeeper/sim/rpc/daemon.ts";
import { type StorageBench, storageSuite } from "./test-support/storage-suite.ts";

const owner = { mode: 0o644, uid: 0, gid: 0 };

async function simBench(): Promise<StorageBench> {
  const host = new SimHost({ name: "h1", clock: new RealClock(), seed: 1 });
  const daemon = new SimDaemon(host, procedureTable);
  const connection = await connect("qemu:///system", { dial: () => daemon.dial() });
  const { files } = host;
  return {
    connection,
    files: {
      create: async (path, sizeBytes) => void files.createRaw(path, owner, sizeBytes),
      fill: async (path, sizeBytes) => files.file(path).preallocate(sizeBytes),
      write: async (path, text) => files.createRaw(path, owner).write(0, Buffer.from(text), host.clock.nowMs()),
      read: async (path) => files.file(path).read(0, 1_000).toString(),
      remove: async (path) => files.remove(path),
    },
    [Symbol.asyncDispose]: () => connection.close(),
  };
}

storageSuite("storage driver on a simulated host", simBench);

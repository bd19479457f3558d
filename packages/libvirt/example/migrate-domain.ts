// Moves a running guest to another host, peer to peer: the source's libvirtd talks to the target's itself.
//   node example/migrate-domain.ts qemu+tls://one/system guest qemu+tls://two/system
import {
  VIR_MIGRATE_LIVE,
  VIR_MIGRATE_PEER2PEER,
  VIR_MIGRATE_PERSIST_DEST,
  VIR_MIGRATE_UNDEFINE_SOURCE,
  LibvirtError,
  connect,
} from "@innkeeper/libvirt";

const [from = "", name = "", to = ""] = process.argv.slice(2);
await using connection = await connect(from);
const { dom } = await connection.remote.domainLookupByName({ name });
try {
  await connection.remote.domainMigratePerform3Params(
    {
      dom,
      dconnuri: to,
      // Well-known parameters get libvirt's types from a table: bandwidth (MiB/s) is an unsigned 64-bit number.
      params: { bandwidth: 500 },
      cookieIn: new Uint8Array(),
      flags: VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE,
    },
    { timeoutMs: 3_600_000 },
  );
  console.log(`${name} runs on ${to}`);
} catch (error) {
  if (!(error instanceof LibvirtError)) throw error;
  console.error(`${error.codeName} from ${error.domainName}: ${error.message}`);
  process.exitCode = 1;
}

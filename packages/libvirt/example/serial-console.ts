// A guest's serial console in this terminal; Ctrl-] leaves:
//   node example/serial-console.ts qemu+ssh://root@host/system guest
import { connect } from "@innkeeper/libvirt";

const [uri = "qemu:///system", name = ""] = process.argv.slice(2);
const ESCAPE = 0x1d;

await using connection = await connect(uri);
const { dom } = await connection.remote.domainLookupByName({ name });
const guest = await connection.stream("domainOpenConsole", { dom, devName: null });
const writer = guest.writable.getWriter();

process.stdin.setRawMode?.(true);
process.stdin.on("data", (keys: Buffer) => {
  if (keys.includes(ESCAPE)) guest.abort();
  else void writer.write(keys).catch(() => undefined);
});
try {
  for await (const chunk of guest.readable) if (chunk instanceof Uint8Array) process.stdout.write(chunk);
} catch (error) {
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
} finally {
  process.stdin.setRawMode?.(false);
  process.stdin.pause();
}

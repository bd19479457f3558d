// Copies a local file into a new raw volume, with holes where the file has only zeros:
//   node example/upload-volume.ts qemu:///system default debian.raw debian.raw
import { open } from "node:fs/promises";
import { Hole, VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM, connect } from "@innkeeper/libvirt";

const [uri = "qemu:///system", poolName = "default", volumeName = "", path = ""] = process.argv.slice(2);
const BLOCK = 1_048_576;

await using connection = await connect(uri);
await using file = await open(path);
const { size } = await file.stat();
const { pool } = await connection.remote.storagePoolLookupByName({ name: poolName });
const xml = `<volume><name>${volumeName}</name><capacity>${size}</capacity><allocation>0</allocation><target><format type="raw"/></target></volume>`;
const { vol } = await connection.remote.storageVolCreateXml({ pool, xml });

const upload = await connection.stream("storageVolUpload", {
  vol,
  offset: 0n,
  length: BigInt(size),
  flags: VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM,
});
const writer = upload.writable.getWriter();
let sent = 0;
for (let at = 0; at < size; at += BLOCK) {
  const block = new Uint8Array(Math.min(BLOCK, size - at));
  await file.read(block, 0, block.byteLength, at);
  const isZero = !block.some((byte) => byte !== 0);
  await writer.write(isZero ? new Hole(BigInt(block.byteLength)) : block);
  if (!isZero) sent += block.byteLength;
}
// close() resolves when libvirt has confirmed that everything is written.
await writer.close();
console.log(`${vol.key}: ${size} bytes, ${sent} of them sent`);

/**
 * PPM (what QEMU's screendump writes unless it knows better) to PNG. Facts: netpbm ppm(5), PNG specification (W3C,
 * third edition) §5 "Datastream structure", §9 "Filtering". No filter: screens compress well enough without.
 */
import { crc32, deflateSync } from "node:zlib";

const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const colourTypeRgb = 2;

/** undefined if the bytes are no binary PPM of 8 bits per channel. */
export function ppmToPng(ppm: Uint8Array): Uint8Array | undefined {
  const header = /^P6\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)\s+255\s/.exec(
    Buffer.from(ppm.subarray(0, 256)).toString("latin1"),
  );
  if (header === null) return undefined;
  const width = Number(header[1]);
  const height = Number(header[2]);
  const pixels = ppm.subarray(header[0].length);
  const rowBytes = width * 3;
  if (width === 0 || height === 0 || pixels.length < rowBytes * height) return undefined;
  // Each row begins with its filter type, 0.
  const rows = Buffer.alloc((rowBytes + 1) * height);
  for (let row = 0; row < height; row++) {
    rows.set(pixels.subarray(row * rowBytes, (row + 1) * rowBytes), row * (rowBytes + 1) + 1);
  }
  const size = Buffer.alloc(13);
  size.writeUInt32BE(width, 0);
  size.writeUInt32BE(height, 4);
  size.set([8, colourTypeRgb, 0, 0, 0], 8);
  return Buffer.concat([
    signature,
    chunk("IHDR", size),
    chunk("IDAT", deflateSync(rows, { level: 6 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  out.set(body, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}

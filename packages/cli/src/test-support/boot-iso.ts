/**
 * The smallest CD that boots: its program says a line on the serial port and resets the machine, as an installer does at
 * its end. Facts: El Torito 1.0 (boot record volume, catalog), ECMA-119 (volume descriptors), PC: UART 8250 at 0x3f8,
 * keyboard controller's reset at port 0x64.
 */

const sector = 2048;
const [bootRecord, catalog, image] = [17, 19, 20] as const;

export function bootIso(line: string): Buffer {
  const iso = Buffer.alloc((image + 4) * sector);
  writeDescriptor(iso, 16, 1);
  iso.writeUInt32LE(iso.length / sector, 16 * sector + 80);
  iso.writeUInt16LE(sector, 16 * sector + 128);
  writeDescriptor(iso, bootRecord, 0);
  iso.write("EL TORITO SPECIFICATION", bootRecord * sector + 7, "latin1");
  iso.writeUInt32LE(catalog, bootRecord * sector + 0x47);
  writeDescriptor(iso, 18, 255);
  writeCatalog(iso, catalog * sector);
  program(line).copy(iso, image * sector);
  return iso;
}

function writeDescriptor(iso: Buffer, at: number, type: number): void {
  iso.writeUInt8(type, at * sector);
  iso.write("CD001", at * sector + 1, "latin1");
  iso.writeUInt8(1, at * sector + 6);
}

/** Validation entry, whose words add up to 0, and the default entry: no emulation, four sectors of 512 bytes. */
function writeCatalog(iso: Buffer, at: number): void {
  iso.writeUInt8(1, at);
  iso.writeUInt16LE(0xaa55, at + 30);
  let sum = 0;
  for (let offset = 0; offset < 32; offset += 2) sum += iso.readUInt16LE(at + offset);
  iso.writeUInt16LE((0x1_0000 - (sum & 0xffff)) & 0xffff, at + 28);
  iso.writeUInt8(0x88, at + 32);
  iso.writeUInt16LE(4, at + 38);
  iso.writeUInt32LE(image, at + 40);
}

/** Loaded at 0000:7c00, in real mode. */
function program(line: string): Buffer {
  const code = [
    0x31,
    0xc0, // xor ax, ax
    0x8e,
    0xd8, // mov ds, ax
    0xbe,
    0x20,
    0x7c, // mov si, 0x7c20
    0xfc, // cld
    0xba,
    0xfd,
    0x03, // next: mov dx, 0x3fd
    0xec, // wait: in al, dx
    0xa8,
    0x20, // test al, 0x20 (transmitter empty)
    0x74,
    0xfb, // jz wait
    0xac, // lodsb
    0x84,
    0xc0, // test al, al
    0x74,
    0x06, // jz done
    0xba,
    0xf8,
    0x03, // mov dx, 0x3f8
    0xee, // out dx, al
    0xeb,
    0xed, // jmp next
    0xb0,
    0xfe, // done: mov al, 0xfe
    0xe6,
    0x64, // out 0x64, al
    0xf4, // hlt
  ];
  return Buffer.concat([Buffer.from(code), Buffer.alloc(0x20 - code.length), Buffer.from(`${line}\r\n\0`, "latin1")]);
}

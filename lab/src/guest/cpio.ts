/**
 * Writes the archive that a Linux kernel unpacks as its first file system: cpio in the "newc" format, everything owned
 * by root and dated 0, so that equal input gives equal bytes. Facts: Linux 6.1
 * Documentation/driver-api/early-userspace/buffer-format.rst.
 */

export interface ArchiveEntry {
  /** Without a leading slash; parent folders must come before. */
  readonly path: string;
  readonly kind: "file" | "folder" | "symlink";
  readonly mode: number;
  /** Content of the file, target of the symlink. */
  readonly content?: Uint8Array | string;
}

// stat(2), inode(7)
const typeBits: Readonly<Record<ArchiveEntry["kind"], number>> = {
  file: 0o100000,
  folder: 0o040000,
  symlink: 0o120000,
};

export function packArchive(entries: Iterable<ArchiveEntry>): Buffer {
  const parts: Buffer[] = [];
  let inode = 1;
  for (const entry of entries) {
    parts.push(...packEntry(entry.path, inode, typeBits[entry.kind] | entry.mode, Buffer.from(entry.content ?? "")));
    inode += 1;
  }
  parts.push(...packEntry("TRAILER!!!", 0, 0, Buffer.alloc(0)));
  return Buffer.concat(parts);
}

function packEntry(path: string, inode: number, mode: number, content: Buffer): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const linkCount = (mode & 0o170000) === typeBits.folder ? 2 : 1;
  // ino mode uid gid nlink mtime filesize maj min rmaj rmin namesize chksum
  const fields = [inode, mode, 0, 0, linkCount, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
  return [header, name, padding(header.length + name.length), content, padding(content.length)];
}

/** Header with name, and content, each end on a multiple of four. */
function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}

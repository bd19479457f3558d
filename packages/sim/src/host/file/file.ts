// One file: its bytes, what a guest wrote to it besides (counted, not kept), and who owns it. An image that nobody has
// written to is only described; its bytes are made when someone reads or writes them, so that a fleet's empty disks cost
// nothing.
import { FileError } from "./file-error.ts";
import { type Image, newImage, PROBE_BYTES, probeImage, renderForeign } from "./image.ts";
import { emptyAllocated, emptyLength, renderEmpty } from "./qcow2.ts";
import { type Section, SparseContent } from "./sparse-content.ts";

/** A file system takes note of what its files take. take() throws ENOSPC when it has no more; it takes back less than 0. */
export interface Space {
  take(bytes: number): void;
}

export interface Owner {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** What a file held at some moment; shared until it is written to. */
interface State {
  readonly content: SparseContent | Image;
  readonly guestBytes: number;
}

/** Of an image's file whose format is neither raw nor qcow2: as qemu-img makes a vmdk of 1 MiB. */
const FOREIGN_BYTES = 65_536;
const FOREIGN_ALLOCATED_BYTES = 12_288;

/** The largest file of ext4 with blocks of 4 KiB (kernel Documentation/filesystems/ext4/inodes.rst). */
const MAX_BYTES = 16 * 2 ** 40 - 4_096;

export class SimFile {
  owner: Owner;
  /** Milliseconds since the epoch. */
  changedMs: number;
  readonly #space: Space;
  /** What the file holds, or what it would hold: one of the two. */
  #content: SparseContent | Image;
  #probed: Image | undefined;
  #guestBytes = 0;
  #takenBytes = 0;
  /** Of an image: what its internal snapshots hold. */
  #states: Map<string, State> | undefined;

  private constructor(space: Space, owner: Owner, nowMs: number, content: SparseContent | Image, guestBytes = 0) {
    this.#space = space;
    this.owner = owner;
    this.changedMs = nowMs;
    this.#content = content;
    this.#guestBytes = guestBytes;
    this.#settle();
  }

  /** Zeros, of which some take room though nobody has written them. */
  static raw(space: Space, owner: Owner, nowMs: number, lengthBytes = 0, allocatedBytes = 0): SimFile {
    const content = new SparseContent();
    content.truncate(lengthBytes);
    return new SimFile(space, owner, nowMs, content, Math.min(allocatedBytes, lengthBytes));
  }

  /** An image without data. */
  static image(space: Space, owner: Owner, nowMs: number, image: Image): SimFile {
    return new SimFile(space, owner, nowMs, image);
  }

  /** With the same content, which is shared until one of them is written to. */
  copy(space: Space, owner: Owner, nowMs: number): SimFile {
    const content = this.#content instanceof SparseContent ? new SparseContent(this.#content) : this.#content;
    return new SimFile(space, owner, nowMs, content, this.#guestBytes);
  }

  get lengthBytes(): number {
    const content = this.#content;
    const own = content instanceof SparseContent ? content.length : emptyLengthOf(content);
    return this.image.format === "raw" ? own : own + this.#guestBytes;
  }

  get allocatedBytes(): number {
    const content = this.#content;
    const own = content instanceof SparseContent ? content.allocated : emptyAllocatedOf(content);
    return this.image.format === "raw"
      ? Math.min(own + this.#guestBytes, blocks(this.lengthBytes))
      : own + this.#guestBytes;
  }

  /** What a guest has allocated of the disk, beside what is kept. */
  get guestBytes(): number {
    return this.#guestBytes;
  }

  get image(): Image {
    if (!(this.#content instanceof SparseContent)) return this.#content;
    return (this.#probed ??= probeImage(this.#content.read(0, PROBE_BYTES)));
  }

  /** Of the disk that it holds. */
  get capacityBytes(): number {
    return this.image.capacityBytes ?? this.lengthBytes;
  }

  /** A guest writes to parts of the disk that had no room yet. ENOSPC leaves it as it was. */
  growGuestData(bytes: number, nowMs: number): void {
    this.preallocate(Math.min(this.#guestBytes + bytes, Math.max(this.#guestBytes, this.capacityBytes)));
    this.changedMs = nowMs;
  }

  /** Room for so much in all, beside what is kept. ENOSPC leaves it as it was. */
  preallocate(guestBytes: number): void {
    const before = this.#guestBytes;
    this.#guestBytes = Math.max(before, guestBytes);
    try {
      this.#settle();
    } catch (error) {
      this.#guestBytes = before;
      throw error;
    }
  }

  read(offset: number, length: number): Buffer {
    const bytes = this.#readable().read(offset, length);
    const wanted = Math.max(0, Math.min(length, this.lengthBytes - offset));
    return bytes.byteLength === wanted ? bytes : Buffer.concat([bytes], wanted);
  }

  *sections(offset: number, length: number): Generator<Section> {
    let at = offset;
    for (const section of this.#readable().sections(offset, length)) {
      yield section;
      at = section.offset + section.length;
    }
    const end = Math.min(offset + length, this.lengthBytes);
    if (end > at) yield { offset: at, length: end - at, isHole: true };
  }

  write(offset: number, bytes: Uint8Array, nowMs: number): void {
    if (offset + bytes.byteLength > MAX_BYTES) throw new FileError("EFBIG");
    this.#change(nowMs, (content) => content.write(offset, bytes));
  }

  /** Longer by a hole, or cut off. */
  truncate(lengthBytes: number, nowMs: number): void {
    if (lengthBytes > MAX_BYTES) throw new FileError("EFBIG");
    this.#change(nowMs, (content) => content.truncate(lengthBytes));
  }

  /** Another size of the disk: of an image in its header. */
  resize(capacityBytes: number, nowMs: number): void {
    const { format, qcow2 } = this.image;
    if (capacityBytes > Number.MAX_SAFE_INTEGER) throw new FileError("EFBIG");
    if (format === "raw") this.truncate(capacityBytes, nowMs);
    else if (qcow2 === undefined) throw new FileError("EINVAL");
    else if (this.#content instanceof SparseContent) {
      const size = Buffer.alloc(8);
      size.writeBigUInt64BE(BigInt(capacityBytes));
      // QEMU docs/interop/qcow2.txt: bytes 24–31 are the virtual disk size.
      this.write(24, size, nowMs);
    } else this.#become({ ...this.#content, capacityBytes, qcow2: { ...qcow2, capacityBytes } }, nowMs);
  }

  /** Another layer below. */
  rebase(backing: Image["backing"], nowMs: number): void {
    const { qcow2 } = this.image;
    if (qcow2 === undefined) throw new FileError("EINVAL");
    const image = newImage("qcow2", qcow2.capacityBytes, backing);
    if (!(this.#content instanceof SparseContent)) return this.#become(image, nowMs);
    for (const [at, bytes] of renderEmpty(image.qcow2 ?? qcow2).slice(0, 1)) this.write(at, bytes, nowMs);
  }

  /** Zeros, as long as before. */
  wipe(nowMs: number): void {
    const content = new SparseContent();
    content.truncate(this.lengthBytes);
    this.#content = content;
    this.#guestBytes = 0;
    this.#change(nowMs, () => undefined);
  }

  /** An internal snapshot. One of that name is replaced. */
  saveState(name: string): void {
    this.#states ??= new Map();
    const content = this.#content instanceof SparseContent ? new SparseContent(this.#content) : this.#content;
    this.#states.set(name, { content, guestBytes: this.#guestBytes });
  }

  /** False when there is none. */
  restoreState(name: string, nowMs: number): boolean {
    const state = this.#states?.get(name);
    if (state === undefined) return false;
    this.#content = state.content instanceof SparseContent ? new SparseContent(state.content) : state.content;
    this.#probed = undefined;
    this.#guestBytes = state.guestBytes;
    this.changedMs = nowMs;
    this.#settle();
    return true;
  }

  dropState(name: string): void {
    this.#states?.delete(name);
  }

  /** It is deleted: its room is free. */
  release(): void {
    this.#space.take(-this.#takenBytes);
    this.#takenBytes = 0;
  }

  #readable(): SparseContent {
    return this.#content instanceof SparseContent ? this.#content : rendered(this.#content);
  }

  #become(image: Image, nowMs: number): void {
    this.#content = image;
    this.changedMs = nowMs;
    this.#settle();
  }

  #change(nowMs: number, edit: (content: SparseContent) => void): void {
    const content = this.#readable();
    edit(content);
    this.#content = content;
    this.#probed = undefined;
    this.changedMs = nowMs;
    this.#settle();
  }

  /** Tells the file system. What does not fit has been written all the same, at most one message's worth. */
  #settle(): void {
    const { allocatedBytes } = this;
    this.#space.take(allocatedBytes - this.#takenBytes);
    this.#takenBytes = allocatedBytes;
  }
}

function emptyLengthOf({ qcow2 }: Image): number {
  return qcow2 === undefined ? FOREIGN_BYTES : emptyLength(qcow2);
}

function emptyAllocatedOf({ qcow2 }: Image): number {
  return qcow2 === undefined ? FOREIGN_ALLOCATED_BYTES : emptyAllocated(qcow2);
}

function blocks(bytes: number): number {
  return Math.ceil(bytes / 4_096) * 4_096;
}

function rendered(image: Image): SparseContent {
  const content = new SparseContent();
  const parts = image.qcow2 === undefined ? [] : renderEmpty(image.qcow2);
  for (const [at, bytes] of parts) content.write(at, bytes);
  if (image.qcow2 === undefined) content.write(0, renderForeign(image.format, image.capacityBytes ?? 0));
  content.truncate(emptyLengthOf(image));
  return content;
}

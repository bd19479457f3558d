/**
 * A backup file: two lines of text that say what it is and how to come to its key, then the state's files, compressed and
 * sealed (core/sealed-stream.ts).
 *
 *   INNKEEPER-BACKUP 1 {"version":"0.1.0","createdAt":"…","key":{"kind":"password","algorithm":"argon2id",…}}
 *   <check of the key>
 *   <sealed: zstd of the archive>
 *
 * Invariant: what a reader unpacks is what was written, whole, or it ends with an AppError that says what is wrong.
 */
import { Readable } from "node:stream";
import { pipeline } from "node:stream";
import { createZstdCompress, createZstdDecompress } from "node:zlib";
import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import { AppError } from "#core/app-error.ts";
import { openStream, sealStream, SealedStreamError } from "#core/sealed-stream.ts";
import { type ArchiveEntry, readArchive, writeArchive } from "./archive.ts";
import { backupKey, isSameCheck, type KeyMaterial, KeySource, newKeySource } from "./backup-key.ts";

const magic = "INNKEEPER-BACKUP 1 ";
const headMaxBytes = 2048;

export const BackupHead = Type.Object({
  /** Of the Innkeeper that made it. */
  version: Type.String(),
  createdAt: Type.String(),
  key: KeySource,
});
export type BackupHead = Static<typeof BackupHead>;

export async function* writeBackup(
  about: Omit<BackupHead, "key">,
  material: KeyMaterial,
  entries: AsyncIterable<ArchiveEntry>,
): AsyncGenerator<Uint8Array> {
  const source = newKeySource(material.kind);
  const head = magic + JSON.stringify({ ...about, key: source });
  const { payload, check } = await backupKey(source, material, head);
  yield Buffer.from(`${head}\n${check}\n`);
  yield* sealStream(through(writeArchive(entries), createZstdCompress()), payload);
}

interface OpenBackup {
  readonly head: BackupHead;
  /** To be read to the end: only then is it known that nothing is missing. */
  readonly entries: AsyncGenerator<ArchiveEntry>;
}

/** `material` is asked for once it is known what it takes. invalid_field for a wrong password and a file that is no whole backup. */
export async function openBackup(
  content: AsyncIterable<Uint8Array>,
  material: (kind: KeyMaterial["kind"]) => Promise<KeyMaterial>,
): Promise<OpenBackup> {
  const { lines, rest } = await splitHead(content);
  const [first = "", check = ""] = lines;
  const head = readHead(first);
  const key = await backupKey(head.key, await material(head.key.kind), first);
  if (!isSameCheck(key.check, check)) {
    const what = head.key.kind === "password" ? "The password is wrong" : "The key file is not the one of this backup";
    throw new AppError("invalid_field", `${what}, or the first lines of the backup were changed.`, { field: "file" });
  }
  return { head, entries: explained(readArchive(through(openStream(rest, key.payload), createZstdDecompress()))) };
}

/** What went wrong in the words of a reader of backups. */
async function* explained(entries: AsyncGenerator<ArchiveEntry>): AsyncGenerator<ArchiveEntry> {
  try {
    for await (const entry of entries) yield { ...entry, content: explainedContent(entry.content) };
  } catch (error) {
    throw explain(error);
  }
}

async function* explainedContent(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* content;
  } catch (error) {
    throw explain(error);
  }
}

function explain(error: unknown): unknown {
  if (!(error instanceof SealedStreamError)) return error;
  return new AppError("invalid_field", `The backup is damaged: ${error.message}. Nothing was restored.`, {
    field: "file",
    remedy: "Take another copy of it, or an older backup.",
    cause: error,
  });
}

function readHead(line: string): BackupHead {
  if (!line.startsWith("INNKEEPER-BACKUP ")) throw noBackup("it does not begin like one");
  if (!line.startsWith(magic)) throw noBackup("it was made by a newer version");
  let head: unknown;
  try {
    head = JSON.parse(line.slice(magic.length));
  } catch (error) {
    throw noBackup("its first line is damaged", error);
  }
  if (Check(BackupHead, head)) return head;
  throw noBackup("its first line is damaged");
}

function noBackup(why: string, cause?: unknown): AppError {
  return new AppError("invalid_field", `This is no backup that can be read: ${why}.`, { field: "file", cause });
}

/** The two lines of the head, and the stream after them. */
async function splitHead(
  content: AsyncIterable<Uint8Array>,
): Promise<{ lines: string[]; rest: AsyncIterable<Uint8Array> }> {
  const pieces = content[Symbol.asyncIterator]();
  let bytes = Buffer.alloc(0);
  for (;;) {
    const firstEnd = bytes.indexOf(0x0a);
    const secondEnd = firstEnd === -1 ? -1 : bytes.indexOf(0x0a, firstEnd + 1);
    if (secondEnd !== -1) {
      const lines = bytes.toString("utf8", 0, secondEnd).split("\n");
      const left = bytes.subarray(secondEnd + 1);
      return { lines, rest: resumed(left, pieces) };
    }
    if (bytes.length > headMaxBytes) throw noBackup("it does not begin like one");
    const { done, value } = await pieces.next();
    if (done === true) throw noBackup(bytes.length === 0 ? "it is empty" : "it ends too early");
    bytes = Buffer.concat([bytes, value]);
  }
}

async function* resumed(first: Uint8Array, pieces: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield first;
    for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) yield next.value;
  } finally {
    await pieces.return?.();
  }
}

/** Errors of the source come out of what is returned; ending the reading ends the source. */
function through(source: AsyncIterable<Uint8Array>, transform: NodeJS.ReadWriteStream): AsyncIterable<Uint8Array> {
  pipeline(Readable.from(source, { objectMode: false }), transform, () => undefined);
  return transform as unknown as AsyncIterable<Uint8Array>;
}

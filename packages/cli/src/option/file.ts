/** Options whose value is a file: its content is read when the request is made. */
import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { valueError } from "#cli-error.ts";
import type { Terminal } from "#terminal.ts";

export async function fileText(option: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw valueError(option, `${file} can't be read: ${messageOf(error)}`);
  }
}

/** A secret's file, without the line end that editors leave. */
export async function fileSecret(option: string, file: string | undefined): Promise<string | undefined> {
  return (await fileText(option, file))?.replace(/\r?\n$/, "");
}

const documentMaxBytes = 1024 * 1024;

/** A JSON or YAML document from a file, or from standard input as `-`. */
export async function fileDocument(option: string, file: string, terminal: Terminal): Promise<Record<string, unknown>> {
  const name = titleOf(file);
  const content = await fileContent(option, file, terminal);
  const { parse } = await import("yaml"); // JSON is YAML 1.2
  let document: unknown;
  try {
    document = parse(content);
  } catch (error) {
    throw valueError(option, `${name} is neither JSON nor YAML: ${messageOf(error).trimEnd()}`);
  }
  if (typeof document === "object" && document !== null && !Array.isArray(document)) return { ...document };
  throw valueError(option, `${name} holds no object`);
}

/** UTF-8 text, at most 1 MiB of it, from a file, or from standard input as `-`. */
export async function fileContent(option: string, file: string, terminal: Terminal): Promise<string> {
  return await boundedText(option, titleOf(file), file === "-" ? terminal.input : createReadStream(file));
}

function titleOf(file: string): string {
  return file === "-" ? "standard input" : file;
}

async function boundedText(option: string, name: string, content: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of content as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > documentMaxBytes) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw valueError(option, `${name} can't be read: ${messageOf(error)}`);
  }
  if (size > documentMaxBytes) throw valueError(option, `${name} holds more than 1 MiB`);
  const bytes = Buffer.concat(chunks);
  if (!isUtf8(bytes)) throw valueError(option, `${name} is not UTF-8`);
  return bytes.toString("utf8");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

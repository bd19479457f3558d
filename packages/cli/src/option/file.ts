/** Options whose value is a file: its content is read when the request is made. */
import { readFile } from "node:fs/promises";
import { valueError } from "#cli-error.ts";
import type { Terminal } from "#terminal.ts";

export async function fileText(option: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw valueError(option, `${file} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** A secret's file, without the line end that editors leave. */
export async function fileSecret(option: string, file: string | undefined): Promise<string | undefined> {
  return (await fileText(option, file))?.replace(/\r?\n$/, "");
}

const documentMaxBytes = 1024 * 1024;

/** A JSON or YAML document from a file, or from standard input as `-`. */
export async function fileDocument(option: string, file: string, terminal: Terminal): Promise<Record<string, unknown>> {
  const content = file === "-" ? await inputText(terminal) : await fileText(option, file);
  const { parse } = await import("yaml"); // JSON is YAML 1.2
  let document: unknown;
  try {
    document = parse(content ?? "");
  } catch (error) {
    throw valueError(
      option,
      `${file} is neither JSON nor YAML: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (typeof document === "object" && document !== null && !Array.isArray(document)) return { ...document };
  throw valueError(option, `${file} holds no object`);
}

async function inputText(terminal: Terminal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of terminal.input as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > documentMaxBytes) throw valueError("-", "standard input holds more than 1 MiB");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

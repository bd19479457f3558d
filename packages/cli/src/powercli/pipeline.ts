/**
 * Objects on standard input, as another cmdlet prints them into a pipe: JSON objects one a line, one JSON array, or bare names
 * one a line (`inn vm list -o name`). An object stands for its Id.
 */
import type { Readable } from "node:stream";
import { usageError } from "#cli-error.ts";

/** What names a resource: as typed, where wildcards are meant, or taken literally. */
export interface Reference {
  readonly text: string;
  readonly literal: boolean;
}

/** The API's largest lists are well below it: 20,000 VMs are some 10 MB. */
const inputMaxBytes = 64 * 1024 * 1024;

export async function pipedReferences(input: Readable, signal: AbortSignal): Promise<Reference[]> {
  const text = (await wholeText(input, signal)).replace(/^\ufeff/, "").trim();
  if (text === "") return [];
  const items = text.startsWith("[") ? arrayOf(text) : text.split(/\r?\n/).filter((line) => line.trim() !== "");
  return items.map((item) => ({ text: referenceOf(item), literal: true }));
}

async function wholeText(input: Readable, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  const stop = (): void => void input.destroy(new Error("ended"));
  signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > inputMaxBytes) throw usageError("standard input holds more than 64 MiB");
      chunks.push(chunk);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** A name may begin with a bracket, too. */
function arrayOf(text: string): readonly unknown[] {
  try {
    const document: unknown = JSON.parse(text);
    if (Array.isArray(document)) return document;
  } catch {
    // Not JSON: names, one a line.
  }
  return text.split(/\r?\n/);
}

function referenceOf(item: unknown): string {
  const value = typeof item === "string" && item.trimStart().startsWith("{") ? parsed(item) : item;
  if (typeof value === "string") return value.trim();
  if (typeof value === "object" && value !== null) {
    const fields = new Map(Object.entries(value).map(([key, field]) => [key.toLowerCase(), field as unknown]));
    for (const key of ["id", "name"]) {
      const field = fields.get(key);
      if (typeof field === "string" && field !== "") return field;
    }
  }
  throw usageError("standard input has an object without Id and Name", "Pipe what another cmdlet prints, or names.");
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw usageError("standard input is neither JSON objects, one a line, nor names");
  }
}

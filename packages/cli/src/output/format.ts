/** `-o`: tables for people, JSON and YAML for programs (the API's own documents, unchanged), bare names for shell loops. */
import { usageError } from "#cli-error.ts";

export const outputFormats = ["table", "wide", "json", "yaml", "name"] as const;
export type OutputFormat = (typeof outputFormats)[number];

export function outputFormat(text: string): OutputFormat {
  const found = outputFormats.find((format) => format === text);
  if (found === undefined) throw usageError(`-o ${text}: there is ${outputFormats.join(", ")}`);
  return found;
}

/** Whether people read it. */
export function isForPeople(format: OutputFormat): boolean {
  return format === "table" || format === "wide";
}

export async function documentText(format: OutputFormat, document: unknown): Promise<string> {
  if (format === "yaml") {
    const { stringify } = await import("yaml");
    return stringify(document, { lineWidth: 0 });
  }
  if (format === "name") return nameLines(document);
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** A resource's name, its id if it has none; one a line for lists. */
function nameLines(document: unknown): string {
  const items = Array.isArray(document) ? document : [document];
  return items.map((item) => `${nameOf(item)}\n`).join("");
}

export function nameOf(resource: unknown): string {
  if (typeof resource !== "object" || resource === null) return String(resource);
  if ("name" in resource && typeof resource.name === "string") return resource.name;
  return "id" in resource ? String(resource.id) : "";
}

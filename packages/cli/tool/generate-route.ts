/**
 * Writes src/generated/route.ts: method and path of every endpoint, and the prefixes of ids. The contract's tables hold
 * schemas too, whose library takes longer to load (about 80 ms) than most commands take; the CLI needs only these few
 * words of them. `--check` compares instead of writing.
 */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Endpoint } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import { idPrefix } from "@innkeeper/contract/id.ts";

const file = path.resolve(import.meta.dirname, "../src/generated/route.ts");

function generate(): string {
  const rows = Object.entries(endpoint as Record<string, Endpoint>).map(
    ([operation, { method, path }]) => `  ${operation}: { method: "${method}", path: "${path}" },`,
  );
  const prefixes = Object.entries(idPrefix).map(([kind, prefix]) => `  ${JSON.stringify(kind)}: "${prefix}",`);
  return `/** Made by tool/generate-route.ts from the contract; do not edit. */
import type { OperationId } from "@innkeeper/contract/endpoint/table.ts";
import type { Kind } from "@innkeeper/contract/id.ts";

export const route: Readonly<Record<OperationId, { readonly method: string; readonly path: string }>> = {
${rows.join("\n")}
};

export const idPrefix: Readonly<Record<Kind, string>> = {
${prefixes.join("\n")}
};
`;
}

if (!process.argv.includes("--check")) {
  writeFileSync(file, generate());
} else if (readFileSync(file, "utf8") !== generate()) {
  console.error("src/generated/route.ts is stale: run node packages/cli/tool/generate-route.ts");
  process.exitCode = 1;
}

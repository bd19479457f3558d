/** The committed OpenAPI document is what the contract says now, and every reference in it leads somewhere. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import { readVersion } from "#app/version.ts";
import { openapiDocument } from "#rest/openapi.ts";

const file = path.resolve(import.meta.dirname, "../../../../docs/api/openapi.json");

test("docs/api/openapi.json is fresh", async () => {
  const committed: unknown = JSON.parse(await readFile(file, "utf8"));
  const made: unknown = JSON.parse(JSON.stringify(openapiDocument(await readVersion())));
  assert.deepEqual(committed, made, "run: node packages/server/tool/generate-openapi.ts");
});

test("it has every endpoint once, and no dangling reference", async () => {
  const text = await readFile(file, "utf8");
  const document = JSON.parse(text) as { paths: Record<string, Record<string, { operationId: string }>> };
  const ids = Object.values(document.paths).flatMap((each) =>
    Object.values(each).map(({ operationId }) => operationId),
  );
  assert.deepEqual(ids.toSorted(), Object.keys(endpoint).toSorted());
  const parsed = JSON.parse(text) as Record<string, unknown>;
  const references = [...text.matchAll(/"\$ref": "#\/([^"]+)"/g)].map((match) => match[1] ?? "");
  assert.ok(references.length > 50);
  for (const reference of references) {
    const target = reference
      .split("/")
      .reduce<unknown>((node, name) => (node as Record<string, unknown> | undefined)?.[name], parsed);
    assert.ok(target !== undefined, reference);
  }
});

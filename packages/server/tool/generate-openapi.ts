/** Writes docs/api/openapi.json from the contract's endpoint table: `node packages/server/tool/generate-openapi.ts`. */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { readVersion } from "#app/version.ts";
import { openapiDocument } from "#rest/openapi.ts";

const file = path.resolve(import.meta.dirname, "../../../docs/api/openapi.json");
await mkdir(path.dirname(file), { recursive: true });
await writeFile(file, `${JSON.stringify(openapiDocument(await readVersion()), undefined, 2)}\n`);

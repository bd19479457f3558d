/**
 * Every package stands on its own feet: what a file imports by a bare name is in the package.json of its own package; test
 * files and the folders at the root may also import what is in the root's. It proves itself by a planted import.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import path from "node:path";
import { test } from "node:test";
import { importsOf, type SourceFile } from "../tool/architecture.ts";

const root = path.resolve(import.meta.dirname, "..");
const listed = execFileSync("git", ["ls-files", "*.ts", "*.tsx", "*package.json"], { cwd: root, encoding: "utf8" });
const names = listed.split("\n").filter((name) => name !== "");

/** By folder; the root's is "". */
const manifests = new Map(
  names
    .filter((name) => path.basename(name) === "package.json")
    .map((name) => [name === "package.json" ? "" : path.dirname(name), dependenciesOf(name)]),
);

function dependenciesOf(name: string): ReadonlySet<string> {
  const manifest = JSON.parse(readFileSync(path.join(root, name), "utf8")) as Record<string, unknown>;
  const kinds = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];
  return new Set(kinds.flatMap((kind) => Object.keys(manifest[kind] ?? {})).concat(String(manifest["name"])));
}

function missing(file: SourceFile): string[] {
  const folder = [...manifests.keys()].find((each) => each !== "" && file.name.startsWith(`${each}/`)) ?? "";
  const isSupport = /\.test\.tsx?$|\/(test-support|testing|tool)\//.test(file.name);
  const known = [manifests.get(folder), ...(isSupport || folder === "" ? [manifests.get("")] : [])];
  return importsOf(file).flatMap((specifier) => {
    if (/^[.#]/.test(specifier) || isBuiltin(specifier)) return [];
    const name = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
    // Workspaces are the root's own, and what tests of one package use of another is no dependency of it.
    if (name.startsWith("@innkeeper/") && (isSupport || folder === "")) return [];
    return known.some((set) => set?.has(name)) ? [] : [`${file.name}: ${name}`];
  });
}

test("what is imported is in the package's own package.json", () => {
  const files = names.filter((name) => /\.tsx?$/.test(name));
  assert.ok(files.length > 500, `only ${files.length} files were read`);
  const problems = files.flatMap((name) => missing({ name, text: readFileSync(path.join(root, name), "utf8") }));
  assert.deepEqual(problems, []);
});

test("a planted import is found", () => {
  const text = 'import { x } from "not-there/part.ts";\nimport y from "node:fs";\nimport { z } from "commander";';
  assert.deepEqual(missing({ name: "packages/cli/src/planted.ts", text }), ["packages/cli/src/planted.ts: not-there"]);
  assert.equal(missing({ name: "packages/libvirt/src/planted.test.ts", text: 'import "fastify";' }).length, 1);
});

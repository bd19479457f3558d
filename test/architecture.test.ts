/**
 * The dependency rule of architecture.json, on every import of every TypeScript file: layers, npm packages, cycles (types
 * included), file sizes, barrels and forbidden names. It proves itself: planted breaks must be found.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { architecture, type Architecture, findProblems, type SourceFile } from "../tool/architecture.ts";

const root = path.resolve(import.meta.dirname, "..");

function sources(): SourceFile[] {
  const listed = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "*.ts", "*.tsx"], {
    cwd: root,
    encoding: "utf8",
  });
  const files = listed.split("\n").filter((name) => name !== "");
  return files.flatMap((name) => {
    try {
      return [{ name, text: readFileSync(path.join(root, name), "utf8") }];
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return []; // deleted, not yet committed
      throw error;
    }
  });
}

const rules: Architecture = architecture(readFileSync(path.join(root, "architecture.json"), "utf8"));

test("every import keeps the dependency rule", () => {
  const files = sources();
  assert.ok(files.length > 50, `only ${files.length} files were read`);
  assert.deepEqual(findProblems(files, rules), []);
});

const plants: { readonly what: string; readonly file: SourceFile; readonly expected: RegExp }[] = [
  {
    what: "contract imports server",
    file: { name: "packages/contract/src/planted.ts", text: `import { x } from "@innkeeper/server/core/clock.ts";` },
    expected: /contract may not import core/,
  },
  {
    what: "rest imports store",
    file: { name: "packages/server/src/rest/planted.ts", text: `import type { Store } from "#store/port.ts";` },
    expected: /rest may not import store/,
  },
  {
    what: "a provider layer imports another",
    file: { name: "packages/server/src/storage/planted.ts", text: `import type { X } from "#network/port.ts";` },
    expected: /storage may not import network/,
  },
  {
    what: "management imports a driver",
    file: {
      name: "packages/server/src/management/planted.ts",
      text: `import { X } from "#storage/driver/libvirt/pool.ts";`,
    },
    expected: /management may not import storage-libvirt/,
  },
  {
    what: "management imports more than a port",
    file: { name: "packages/server/src/management/planted.ts", text: `import { X } from "#storage/other.ts";` },
    expected: /only the port/,
  },
  {
    what: "an npm package that is not allowed",
    file: { name: "packages/contract/src/planted.ts", text: `import x from "lodash";` },
    expected: /contract may not use lodash/,
  },
  {
    what: "a dynamic import",
    file: { name: "packages/cli/src/planted.ts", text: `const x = await import("@innkeeper/server/app/server.ts");` },
    expected: /cli may not import app/,
  },
  {
    what: "a cycle with itself through types",
    file: { name: "packages/contract/src/planted.ts", text: `import type { A } from "./planted.ts";` },
    expected: /cycle/,
  },
  {
    what: "a barrel",
    file: { name: "packages/contract/src/planted.ts", text: `export * from "./id.ts";\nexport * from "./unit.ts";` },
    expected: /barrel/,
  },
  { what: "a forbidden name", file: { name: "packages/server/src/core/string-utils.ts", text: "" }, expected: /name/ },
  { what: "a file of no layer", file: { name: "packages/stray/src/x.ts", text: "" }, expected: /no layer/ },
  {
    what: "a file that is too long",
    file: { name: "packages/contract/src/planted.ts", text: "//\n".repeat(500) },
    expected: /lines/,
  },
];

for (const plant of plants) {
  test(`a planted break is found: ${plant.what}`, () => {
    const problems = findProblems([...sources(), plant.file], rules).filter((problem) =>
      problem.startsWith(plant.file.name),
    );
    assert.match(problems.join("\n"), plant.expected);
  });
}

/**
 * Reads architecture.json and finds what breaks it. Works on text, so that a test can plant a break without writing a
 * file. Imports are found by their syntax (static, dynamic, re-export, side effect), types included.
 */
import path from "node:path";

interface Layer {
  readonly name: string;
  readonly path: string;
  readonly may: readonly string[];
  /** Layers of which only `port.ts` may be imported. */
  readonly ports?: readonly string[];
  readonly external: readonly string[];
}

export interface Architecture {
  readonly layers: readonly Layer[];
  /** Layers that any `*.test.ts` and test support may import besides its own. */
  readonly testsMayImport: readonly string[];
  readonly maxLines: { readonly source: number; readonly test: number };
  /** File → why it may be longer. */
  readonly largeFiles: Readonly<Record<string, string>>;
}

export interface SourceFile {
  /** Path from the root of the repository. */
  readonly name: string;
  readonly text: string;
}

export function architecture(json: string): Architecture {
  return JSON.parse(json) as Architecture;
}

const forbiddenName = /(^|[-/.])(utils?|helpers?|common|misc|manager|impl)([-.]|$)/;
const importPattern =
  /(?:^|[;\n])\s*(?:import|export)\s[^;"'`]*?from\s*["']([^"']+)["']|(?:^|[;\n])\s*import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/g;

/** Every break, as `file: what`, sorted. */
export function findProblems(files: readonly SourceFile[], rules: Architecture): string[] {
  const problems: string[] = [];
  const graph = new Map<string, string[]>();
  for (const file of files) {
    const report = (what: string) => problems.push(`${file.name}: ${what}`);
    checkShape(file, rules, report);
    const layer = layerOf(file.name, rules);
    if (layer === undefined) {
      report("belongs to no layer of architecture.json");
      continue;
    }
    const targets = importsOf(file).map((specifier) => ({ specifier, target: resolve(file.name, specifier) }));
    graph.set(
      file.name,
      targets.flatMap(({ target }) => target ?? []),
    );
    for (const { specifier, target } of targets) checkImport(file.name, layer, specifier, target, rules, report);
  }
  for (const cycle of findCycles(graph)) problems.push(`${cycle[0]}: import cycle: ${cycle.join(" → ")}`);
  return problems.sort();
}

function checkShape(file: SourceFile, rules: Architecture, report: (what: string) => void): void {
  if (file.name.includes("/generated/")) return;
  const isTest = file.name.endsWith(".test.ts");
  const lines = file.text.trimEnd().split("\n").length;
  const most = isTest ? rules.maxLines.test : rules.maxLines.source;
  if (lines > most && rules.largeFiles[file.name] === undefined) report(`has ${lines} lines, more than ${most}`);
  if (forbiddenName.test(file.name)) report("has a name that says nothing (utils, helpers, common, manager …)");
  if ((file.text.match(/^export \* from/gm) ?? []).length > 1 && file.name !== "packages/libvirt/src/main.ts")
    report("is a barrel");
}

function checkImport(
  name: string,
  layer: Layer,
  specifier: string,
  target: string | undefined,
  rules: Architecture,
  report: (what: string) => void,
): void {
  const support = name.endsWith(".test.ts") || name.includes("/test-support/");
  if (target === undefined) {
    const packageName = specifier.startsWith("@")
      ? specifier.split("/").slice(0, 2).join("/")
      : (specifier.split("/")[0] ?? specifier);
    const allowed = support || layer.external.some((pattern) => matches(pattern, packageName));
    if (!allowed) report(`${layer.name} may not use ${packageName}`);
    return;
  }
  const other = layerOf(target, rules);
  if (other === undefined) return report(`imports ${target}, which belongs to no layer`);
  if (other.name === layer.name || layer.may.includes("*") || layer.may.includes(other.name)) return;
  if (support && (rules.testsMayImport.includes(other.name) || other.path.startsWith(layer.path))) return;
  if (layer.ports?.includes(other.name)) {
    if (!target.endsWith("/port.ts")) report(`${layer.name} may import only the port of ${other.name}, not ${target}`);
    return;
  }
  report(`${layer.name} may not import ${other.name} (${target})`);
}

function matches(pattern: string, name: string): boolean {
  return pattern === "*" || pattern === name || (pattern.endsWith("*") && name.startsWith(pattern.slice(0, -1)));
}

function layerOf(name: string, rules: Architecture): Layer | undefined {
  return rules.layers.filter((layer) => name.startsWith(layer.path)).sort((a, b) => b.path.length - a.path.length)[0];
}

export function importsOf(file: SourceFile): string[] {
  const withoutComments = file.text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  return [...withoutComments.matchAll(importPattern)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

/** The file that a specifier names, from the root of the repository; undefined for packages from npm and Node itself. */
function resolve(importer: string, specifier: string): string | undefined {
  if (specifier.startsWith(".")) return path.posix.normalize(path.posix.join(path.posix.dirname(importer), specifier));
  if (specifier.startsWith("#"))
    return `${/^(?:packages\/[^/]+|lab)/.exec(importer)?.[0] ?? ""}/src/${specifier.slice(1)}`;
  if (specifier === "@innkeeper/libvirt") return "packages/libvirt/src/main.ts";
  const own = /^@innkeeper\/([^/]+)\/(.+)$/.exec(specifier);
  if (own) return `${own[1] === "lab" ? "lab" : `packages/${own[1]}`}/src/${own[2]}`;
  return undefined;
}

/** One cycle for each strongly connected set of files, found by depth-first search. */
function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const state = new Map<string, "open" | "done">();
  const stack: string[] = [];
  const visit = (name: string) => {
    state.set(name, "open");
    stack.push(name);
    for (const next of graph.get(name) ?? []) {
      if (state.get(next) === "open") cycles.push([...stack.slice(stack.indexOf(next)), next]);
      else if (!state.has(next) && graph.has(next)) visit(next);
    }
    stack.pop();
    state.set(name, "done");
  };
  for (const name of graph.keys()) if (!state.has(name)) visit(name);
  return cycles;
}

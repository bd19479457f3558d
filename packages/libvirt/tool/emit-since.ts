// Emits what is newer than the oldest release that people still run: procedures and constants with their release.
import { isNewer } from "./since-parser.ts";
import type { HeaderConstant } from "./header-parser.ts";
import type { Release } from "./since-parser.ts";

/** Debian 11's libvirt. */
const BASE: Release = "7.0.0";

/** @param procedures camelCase names; a function is its procedure's name with "vir" before it, and its program's within. */
export function emitSince(
  procedures: readonly string[],
  functions: ReadonlyMap<string, Release>,
  constants: readonly HeaderConstant[],
  remarks: ReadonlyMap<string, Release>,
): string {
  const byName = new Map([...functions].map(([name, release]) => [nameOf(name), release]));
  const table = (name: string, rows: readonly (readonly [string, Release | undefined])[]): string => {
    const lines = rows.flatMap(([key, release]) =>
      release !== undefined && isNewer(release, BASE) ? `  ${key}: ${JSON.stringify(release)},\n` : [],
    );
    return `export const ${name}: Readonly<Record<string, string>> = {\n${lines.join("")}};\n`;
  };
  return [
    `/** What is not in the tables below is in this release (or has no version of its own). */\nexport const sinceBase = ${JSON.stringify(BASE)};\n`,
    `/** Procedures that came later, by name. */\n${table(
      "procedureSince",
      procedures.map((name) => [name, byName.get(name.toLowerCase())]),
    )}`,
    `/** Constants that came later. */\n${table(
      "constantSince",
      constants.map(({ name }) => [name, remarks.get(name)]),
    )}`,
  ].join("\n");
}

/** virDomainQemuMonitorCommand is domainMonitorCommand of the program qemu. */
function nameOf(symbol: string): string {
  return symbol
    .replace(/^vir/u, "")
    .replace(/Qemu|Lxc/u, "")
    .toLowerCase();
}

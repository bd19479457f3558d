/**
 * What operating systems support as guests: os.txt, by their names in libosinfo's database. A release that is newer than
 * the table is taken for the newest that the table has of its family.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { refuse } from "./sub-option.ts";
import { nearest } from "./near-miss.ts";

export interface GuestOs {
  readonly names: readonly string[];
  /** In libosinfo's database; absent: an OS that nothing is known of. */
  readonly id: string | undefined;
  readonly virtioDisk: boolean;
  readonly virtioScsi: boolean;
  readonly virtioNetwork: boolean;
  readonly virtioRng: boolean;
  readonly virtioGpu: boolean;
  readonly virtioBalloon: boolean;
  readonly virtioSerial: boolean;
  readonly usb3: boolean;
  readonly q35: boolean;
  readonly windows: boolean;
  readonly localTime: boolean;
  readonly needsUefi: boolean;
  /** What it should have; 0: nothing is recommended. */
  readonly memoryMiB: number;
  readonly vcpuCount: number;
  readonly diskGiB: number;
  /** The network card of a machine without PCI Express. */
  readonly nic: string;
}

let table: readonly GuestOs[] | undefined;

export function guestOsTable(): readonly GuestOs[] {
  table ??= readTable(readFileSync(path.join(import.meta.dirname, "os.txt"), "utf8"));
  return table;
}

function readTable(text: string): GuestOs[] {
  const systems: GuestOs[] = [];
  let facts = "";
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("= ")) facts = line.slice(2);
    else systems.push(readLine(line, new Set(facts)));
  }
  return systems;
}

function readLine(line: string, facts: ReadonlySet<string>): GuestOs {
  const [names = "", id = "-", memoryMiB, vcpuCount, diskGiB, nic] = line.split(" ");
  return {
    names: names.split(","),
    id: id === "-" ? undefined : id,
    virtioDisk: facts.has("d"),
    virtioScsi: facts.has("s"),
    virtioNetwork: facts.has("n"),
    virtioRng: facts.has("r"),
    virtioGpu: facts.has("g"),
    virtioBalloon: facts.has("b"),
    virtioSerial: facts.has("c"),
    usb3: facts.has("u"),
    q35: facts.has("q"),
    windows: facts.has("w"),
    localTime: facts.has("l"),
    needsUefi: facts.has("e"),
    memoryMiB: Number(memoryMiB),
    vcpuCount: Number(vcpuCount),
    diskGiB: Number(diskGiB),
    nic: nic ?? "e1000",
  };
}

export interface FoundOs {
  readonly os: GuestOs;
  /** Said to the user where it is not just what was asked for. */
  readonly remark?: string;
}

/** By short name or libosinfo's id. */
export function findOs(text: string, option: string): FoundOs {
  const systems = guestOsTable();
  const exact = systems.find((os) => os.names.includes(text) || os.id === text);
  if (exact !== undefined) return { os: exact };
  const older = newestBefore(text, systems);
  if (older !== undefined) {
    return { os: older, remark: `${text} is newer than the table of systems: taken for ${older.names[0]}.` };
  }
  const close = nearest(
    text,
    systems.flatMap((os) => os.names),
  );
  const hint = close === undefined ? "" : `Did you mean ${close}? `;
  throw refuse(option, `There is no operating system "${text}".`, `${hint}All: --osinfo list.`);
}

/** `ubuntu26.04` → ubuntu22.10: the highest version of the same family, if it is lower. */
function newestBefore(text: string, systems: readonly GuestOs[]): GuestOs | undefined {
  const asked = versionOf(text);
  if (asked === undefined) return undefined;
  const family = systems
    .flatMap((os) => os.names.map((name) => ({ os, version: versionOf(name) })))
    .filter(({ version }) => version?.family === asked.family)
    .toSorted((a, b) => compareVersions(b.version?.numbers ?? [], a.version?.numbers ?? []));
  const [newest] = family;
  const isNewer = newest !== undefined && compareVersions(asked.numbers, newest.version?.numbers ?? []) > 0;
  return isNewer ? newest.os : undefined;
}

function versionOf(name: string): { readonly family: string; readonly numbers: readonly number[] } | undefined {
  const [, family, version] = /^([a-z-]+?|win2k)(\d+(?:\.\d+)*)$/.exec(name) ?? [];
  return family === undefined || version === undefined
    ? undefined
    : { family, numbers: version.split(".").map(Number) };
}

function compareVersions(left: readonly number[], right: readonly number[]): number {
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** From the name of an installer or image: `ubuntu-22.04.3-live-server-amd64.iso`, `debian-12-generic.qcow2`. */
export function guessOs(fileName: string): FoundOs | undefined {
  const plain = fileName.toLowerCase().replace(/^.*\//, "");
  const [, family, version = ""] =
    /^(almalinux|alpine|archlinux|centos|debian|fedora|freebsd|openbsd|opensuse|rhel|rocky|ubuntu)[-_a-z]*?[-_]?v?(\d+(?:\.\d+)*)?/.exec(
      plain,
    ) ?? [];
  if (family === undefined) return undefined;
  const name = family === "alpine" ? "alpinelinux" : family;
  const numbers = version.split(".").filter((part) => part !== "");
  // The most of the version that is known: 22.04.3 is ubuntu22.04, debian-12.5.0 is debian12.
  for (let count = numbers.length; count >= 0; count--) {
    const candidate = `${name}${numbers.slice(0, count).join(".")}`;
    const os = guestOsTable().find((each) => each.names.includes(candidate));
    if (os !== undefined) return { os };
  }
  const [major = ""] = numbers;
  const newer = newestBefore(`${name}${major}`, guestOsTable());
  return (
    newer && { os: newer, remark: `${name}${major} is newer than the table of systems: taken for ${newer.names[0]}.` }
  );
}

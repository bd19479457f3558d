// Brings the libvirt source package of the machine's own Debian archive into a cache folder, without touching the system's
// apt configuration: a private sources file (the system's entries as "deb-src"), private lists, private cache. apt checks
// the archive's signatures as always. Returns the folder of the unpacked upstream tree.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The source package cannot be had here (no apt, no network, another release): the reason is in the message. */
export class SourceUnavailableError extends Error {
  override name = "SourceUnavailableError";
}

/** The release the committed files are generated from: Debian 12's. */
export const LIBVIRT_RELEASE = "9.0.0";

/** The domains of its tests are read by the tests of the control plane's domain XML. */
const WANTED = [
  "src/remote/*.x",
  "src/rpc/*.x",
  "include/libvirt",
  "src/*/*.c",
  "src/*/*.h",
  "src/*.h",
  "src/libvirt_*.syms",
  "tests/*data/*.xml",
];

export async function libvirtSource(release: string = LIBVIRT_RELEASE): Promise<string> {
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "innkeeper", "libvirt-source");
  const target = join(cache, `libvirt-${release}`);
  const complete = ["src/remote/remote_protocol.x", "src/libvirt_qemu.syms", "tests/genericxml2xmlindata"];
  if (complete.every((path) => existsSync(join(target, path)))) return target;
  await mkdir(cache, { recursive: true });
  const work = join(cache, `fetch-${process.pid}`);
  try {
    const tarball = await download(work, release);
    const unpacked = join(work, "unpacked");
    await mkdir(unpacked);
    await run("tar", [
      "-xf",
      tarball,
      "-C",
      unpacked,
      "--strip-components=1",
      "--wildcards",
      ...WANTED.map((path) => `*/${path}`),
    ]);
    await rm(target, { recursive: true, force: true });
    await rename(unpacked, target);
    return target;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function download(work: string, release: string): Promise<string> {
  await mkdir(join(work, "lists/partial"), { recursive: true });
  await mkdir(join(work, "cache/archives/partial"), { recursive: true });
  await writeFile(join(work, "innkeeper.sources"), await sourceEntries());
  const options = [
    `Dir::Etc::sourcelist=${join(work, "innkeeper.sources")}`,
    "Dir::Etc::sourceparts=/dev/null",
    `Dir::State::lists=${join(work, "lists")}`,
    `Dir::Cache=${join(work, "cache")}`,
    "APT::Sandbox::User=root",
  ].flatMap((option) => ["-o", option]);
  try {
    await run("apt-get", [...options, "-q", "update"], { cwd: work, timeout: 300_000 });
    const { stdout } = await run("apt-cache", [...options, "showsrc", "libvirt"], { cwd: work });
    const versions = [...stdout.matchAll(/^Version: (\S+)$/gmu)].flatMap(([, version]) => version ?? []);
    const version = versions.findLast((each) => each.replace(/^\d+:/u, "").startsWith(`${release}-`));
    if (version === undefined)
      throw new Error(`the archive offers libvirt ${versions.join(", ") || "not at all"}, not ${release}`);
    await run("apt-get", [...options, "-q", "source", "--download-only", `libvirt=${version}`], {
      cwd: work,
      timeout: 300_000,
    });
  } catch (error) {
    throw new SourceUnavailableError(
      `libvirt's source package: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const tarball = (await readdir(work)).find((name) => /\.orig\.tar\.\w+$/u.test(name));
  if (tarball === undefined) throw new SourceUnavailableError("libvirt's source package holds no upstream tarball");
  return join(work, tarball);
}

/** The system's Debian entries (one-line and deb822 format) as source entries. */
async function sourceEntries(): Promise<string> {
  const folder = "/etc/apt/sources.list.d";
  const names = existsSync(folder) ? await readdir(folder) : [];
  const stanzas: string[] = [];
  for (const name of names.filter((each) => each.endsWith(".sources"))) {
    const text = await readFile(join(folder, name), "utf8");
    stanzas.push(...text.split(/\n\s*\n/u).filter(isDebian));
  }
  const lists = [
    "/etc/apt/sources.list",
    ...names.filter((each) => each.endsWith(".list")).map((each) => join(folder, each)),
  ];
  for (const list of lists.filter((each) => existsSync(each))) {
    for (const line of (await readFile(list, "utf8")).split("\n")) {
      const match = /^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)$/u.exec(line.trim());
      if (match !== null && isDebian(line))
        stanzas.push(`Types: deb\nURIs: ${match[1]}\nSuites: ${match[2]}\nComponents: ${match[3]}`);
    }
  }
  if (stanzas.length === 0) throw new SourceUnavailableError("no Debian archive in this system's apt sources");
  return `${stanzas.map((stanza) => stanza.replace(/^Types:.*$/mu, "Types: deb-src").trim()).join("\n\n")}\n`;
}

function isDebian(entry: string): boolean {
  return /^(?:URIs:|deb\s).*\/debian/mu.test(entry) && !/^Enabled:\s*no/mu.test(entry);
}

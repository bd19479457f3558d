/**
 * Debian packages as a source of files: downloaded and unpacked into a folder, never installed. Invariant: nothing on
 * the machine outside that folder changes. Facts: apt-get(8), apt-cache(8), dpkg-deb(1).
 */
import { readdir } from "node:fs/promises";
import path from "node:path";
import { CommandError, run } from "#command.ts";

interface PackageVersion {
  readonly name: string;
  readonly version: string;
}

const downloadTimeoutMs = 300_000;

/** What would be downloaded now: the kernel that linux-image-cloud-amd64 stands for, agent, signed UEFI loaders. */
export async function guestPackages(signal: AbortSignal | undefined): Promise<PackageVersion[]> {
  const meta = "linux-image-cloud-amd64";
  const others = ["qemu-guest-agent", "shim-signed", "grub-efi-amd64-signed"];
  const records = await showPackages([meta, ...others], signal);
  const kernel = /^(linux-image-\S+) \(= (\S+)\)/u.exec(field(records, meta, "Depends"));
  if (kernel?.[1] === undefined || kernel[2] === undefined)
    throw new Error(`${meta} does not say which kernel it means`);
  return [
    { name: kernel[1], version: kernel[2] },
    ...others.map((name) => ({ name, version: field(records, name, "Version") })),
  ];
}

async function showPackages(names: readonly string[], signal: AbortSignal | undefined): Promise<string[]> {
  try {
    const { stdout } = await run(["apt-cache", "show", "--no-all-versions", ...names], { signal });
    return stdout.split("\n\n");
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new Error(`Debian's package lists do not have ${names.join(" and ")}: run apt-get update, then try again`, {
      cause: error,
    });
  }
}

function field(records: readonly string[], name: string, key: string): string {
  const record = records.find((text) => text.startsWith(`Package: ${name}\n`)) ?? "";
  const value = new RegExp(`^${key}: (.*)$`, "mu").exec(record)?.[1];
  if (value === undefined) throw new Error(`Debian's package lists have no ${key} for ${name}: run apt-get update`);
  return value;
}

/** Downloads the packages into `folder` and unpacks all of them into `folder`/root, which is returned. */
export async function unpackPackages(
  packages: readonly PackageVersion[],
  folder: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const wanted = packages.map(({ name, version }) => `${name}=${version}`);
  // The folder is root's: apt's own unprivileged user could not write there.
  const download = ["apt-get", "-o", "APT::Sandbox::User=root", "-q", "download", ...wanted];
  await run(download, { signal, timeoutMs: downloadTimeoutMs, workingFolder: folder });
  const root = path.join(folder, "root");
  for (const file of (await readdir(folder)).filter((name) => name.endsWith(".deb"))) {
    await run(["dpkg-deb", "-x", path.join(folder, file), root], { signal });
  }
  return root;
}

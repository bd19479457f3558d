/**
 * A lab: N real libvirt hosts on this Linux machine, one network segment, one shared folder, one certificate authority.
 * Invariant: everything a lab owns is in its folder or is found by a mark made from the folder's path, so `down` removes
 * all of it, twice in a row if need be, also when the process that made the lab was killed at any instant.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { CertificateAuthority } from "@innkeeper/server/core/certificate-authority.ts";
import { replaceFile } from "@innkeeper/server/core/durable-file.ts";
import { writeHostConfig, type HostIdentity } from "#host-config.ts";
import { LabHost, startSwitch } from "#host.ts";
import { labFolderOfMark, labLayout, labRoot, type LabLayout } from "#layout.ts";
import { killNode, listProcesses } from "#namespace.ts";
import { configureSwitch, connectRoot, deleteInterface, hostAddress, maxHostCount } from "#network.ts";

interface LabOptions {
  /** Names the lab on this machine: 1–40 of a–z, 0–9 and dash. */
  readonly name: string;
  /** Hosts are named h1, h2, … */
  readonly hostCount: number;
  /** The lab's folder; /var/lib/innkeeper-lab/<name> unless told. */
  readonly folder?: string;
  /** Let the hosts see /dev/kvm. Off unless told: not every machine that has it can run a guest with it. */
  readonly kvm?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (message: string) => void;
}

/** Paths of PEM files: what a client needs to be let in by the lab's hosts. */
interface ClientTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Folder with the three under the names that libvirt's `pkipath` URI parameter expects. */
  readonly folder: string;
}

interface LabRecord {
  readonly name: string;
  readonly hosts: readonly HostIdentity[];
}

/** A lab that can't be made or opened, for a reason that the caller can mend. */
export class LabError extends Error {
  override readonly name = "LabError";
}

export class Lab implements AsyncDisposable {
  readonly name: string;
  readonly hosts: readonly LabHost[];
  readonly clientTls: ClientTls;
  /** Lies at this path on every host and here; the hosts' pool `shared`. */
  readonly sharedFolder: string;
  readonly folder: string;

  private constructor(layout: LabLayout, record: LabRecord) {
    this.name = record.name;
    this.folder = layout.folder;
    this.hosts = record.hosts.map((identity) => new LabHost(layout.folder, identity));
    this.sharedFolder = layout.sharedFolder;
    this.clientTls = clientTls(layout.clientFolder);
  }

  /** Makes a lab and resolves when libvirtd answers on every host. A failure or abort leaves nothing behind. */
  static async up(options: LabOptions): Promise<Lab> {
    checkOptions(options);
    const layout = labLayout(labFolder(options.name, options.folder));
    await mkdir(path.dirname(layout.folder), { recursive: true });
    try {
      await mkdir(layout.folder, { mode: 0o755 });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
      throw new LabError(`there is already a lab in ${layout.folder}: take it down first (inn lab down)`);
    }
    try {
      const lab = new Lab(layout, await prepare(layout, options));
      await Promise.all(
        lab.hosts.map(async (host) => {
          const startMs = performance.now();
          await host.start(options.signal);
          options.onProgress?.(`host ${host.name} ready in ${Math.round(performance.now() - startMs)} ms`);
        }),
      );
      return lab;
    } catch (error) {
      await remove(layout);
      throw error;
    }
  }

  /** A lab that was made earlier, by this process or another. */
  static async open(name: string, folder?: string): Promise<Lab> {
    const layout = labLayout(labFolder(name, folder));
    const text = await readFile(layout.recordFile, "utf8").catch(() => {
      throw new LabError(`there is no lab ${name} in ${layout.folder}`);
    });
    return new Lab(layout, JSON.parse(text) as LabRecord);
  }

  /** Names of the labs under the default folder, in alphabetical order, half-made ones included. */
  static async list(): Promise<string[]> {
    return (await readdir(labRoot()).catch(() => [])).toSorted();
  }

  /** Removes the lab of this name, also one that was never finished. True if there was anything to remove. */
  static async down(name: string, folder?: string): Promise<boolean> {
    return await remove(labLayout(labFolder(name, folder)));
  }

  /** Throws LabError unless `name` is a host of this lab. */
  host(name: string): LabHost {
    const host = this.hosts.find((candidate) => candidate.name === name);
    if (host !== undefined) return host;
    const names = this.hosts.map((candidate) => candidate.name).join(", ");
    throw new LabError(`lab ${this.name} has no host ${name}; it has ${names}`);
  }

  async down(): Promise<void> {
    await remove(labLayout(this.folder));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }
}

function checkOptions(options: LabOptions): void {
  if (process.getuid?.() !== 0) throw new LabError("a lab needs root: namespaces, bridges and mounts are its stuff");
  const { hostCount } = options;
  if (!Number.isInteger(hostCount) || hostCount < 1 || hostCount > maxHostCount) {
    throw new LabError(`a lab has 1 to ${maxHostCount} hosts, not ${hostCount}`);
  }
}

function labFolder(name: string, folder: string | undefined): string {
  if (!/^[a-z0-9][a-z0-9-]{0,39}$/u.test(name)) {
    throw new LabError(`"${name}" is no name for a lab: 1 to 40 of a-z, 0-9 and dash, not a dash first`);
  }
  const chosen = folder === undefined ? path.join(labRoot(), name) : path.resolve(folder);
  // Overlay mount options and command lines carry the path as it is.
  if (!/^[\w./+-]+$/u.test(chosen))
    throw new LabError(`a lab's folder has only letters, digits and ._+-/, not ${chosen}`);
  return chosen;
}

/** All that comes before the hosts: switch, network, certificates, each host's configuration, the record. */
async function prepare(layout: LabLayout, options: LabOptions): Promise<LabRecord> {
  const { signal } = options;
  await mkdir(layout.sharedFolder, { mode: 0o755 });
  const switchPid = await startSwitch(layout.folder, signal);
  const network = await connectRoot(layout, switchPid, signal);
  await configureSwitch(switchPid, network, signal);
  const authority = await CertificateAuthority.open(layout.authorityFolder, {
    commonName: `Innkeeper lab ${options.name}`,
    validDays: 365,
  });
  await writeClientFiles(layout.clientFolder, authority, options.name);
  const allHosts = Array.from({ length: options.hostCount }, (_unused, index) => ({
    name: `h${index + 1}`,
    uuid: randomUUID(),
    address: hostAddress(network, index),
  }));
  const lab: LabRecord = { name: options.name, hosts: allHosts };
  for (const identity of allHosts) {
    const { layout: folders } = new LabHost(layout.folder, identity);
    const { sharedFolder } = layout;
    await writeHostConfig(folders, { identity, allHosts, authority, sharedFolder, kvm: options.kvm ?? false });
  }
  await replaceFile(layout.recordFile, `${JSON.stringify(lab, undefined, 2)}\n`, 0o644);
  return lab;
}

function clientTls(folder: string): ClientTls {
  const inside = (name: string): string => path.join(folder, name);
  return { folder, ca: inside("cacert.pem"), cert: inside("clientcert.pem"), key: inside("clientkey.pem") };
}

async function writeClientFiles(folder: string, authority: CertificateAuthority, labName: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  const client = authority.issue({ commonName: `lab ${labName} administrator`, purposes: ["client"] });
  const files = clientTls(folder);
  await writeFile(files.ca, authority.certificatePem);
  await writeFile(files.cert, client.certificatePem);
  await writeFile(files.key, client.keyPem, { mode: 0o600 });
}

async function remove(layout: LabLayout): Promise<boolean> {
  const marks = await runningMarks(layout.folder);
  await Promise.all(marks.map((mark) => killNode(mark, undefined)));
  await deleteInterface(layout.interfaceName, undefined);
  const existed = await readdir(layout.folder).then(
    () => true,
    () => false,
  );
  await rm(layout.folder, { recursive: true, force: true });
  // The root goes with its last lab.
  if (path.dirname(layout.folder) === labRoot()) await rmdir(labRoot()).catch(() => undefined);
  return existed || marks.length > 0;
}

/** Marks of this lab's nodes that run now: the record may be missing, the processes tell. */
async function runningMarks(folder: string): Promise<string[]> {
  const argvs = [...(await listProcesses()).values()];
  return [...new Set(argvs.flat().filter((argument) => labFolderOfMark(argument) === folder))];
}

/** A hypervisor on a lab's host, and what tests of it share: a session that connects anew, guests, their consoles. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import type { LabHost } from "@innkeeper/lab/host.ts";
import type { Lab } from "@innkeeper/lab/lab.ts";
import { connect, type Connection } from "@innkeeper/libvirt";
import { newId } from "@innkeeper/contract/id.ts";
import type { VmDisk, VmNic, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import type { LibvirtSession } from "#libvirt/session.ts";
import type { ByteChannel } from "#core/byte-channel.ts";
import type { GuestDefinition, GuestHypervisor, GuestMetadata } from "#virtualization/port.ts";
import { randomMac } from "../domain-xml/nic.ts";
import { createLibvirtHypervisor } from "../hypervisor.ts";

const execute = promisify(execFile);

export interface LabHypervisor extends AsyncDisposable {
  readonly guest: GuestHypervisor;
  readonly host: LabHost;
  readonly connection: LibvirtSession["connection"];
}

/** `uri` names another driver of the host's daemon. */
export async function labHypervisor(lab: Lab, index: number, uri?: string): Promise<LabHypervisor> {
  const host = lab.hosts[index];
  if (host === undefined) throw new Error(`the lab has no host ${index}`);
  const [ca, cert, key] = await Promise.all(
    [lab.clientTls.ca, lab.clientTls.cert, lab.clientTls.key].map((file) => readFile(file, "utf8")),
  );
  const tls = { ca: ca ?? "", cert: cert ?? "", key: key ?? "" };
  const address = uri === undefined ? host.uri : uri.replace("://", `+tls://${host.address}`);
  return hypervisorOf(host, address, (call) => connect(address, { tls, signal: call.signal }));
}

function hypervisorOf(host: LabHost, uri: string, open: (call: Call) => Promise<Connection>): LabHypervisor {
  let present: Connection | undefined;
  const connection = async (call: Call): Promise<Connection> => {
    if (present?.isOpen !== true) present = await open(call);
    return present;
  };
  const context = { session: { connection }, log: silentLogger, clock: systemClock, uri };
  return {
    guest: createLibvirtHypervisor(context),
    host,
    connection,
    [Symbol.asyncDispose]: async () => void (await present?.close()),
  };
}

/** A disk on the lab's shared folder that begins as the lab's guest image. */
export async function guestDisk(lab: Lab, name: string): Promise<VmDisk> {
  const image = await guestImage();
  const source = path.join(lab.sharedFolder, `${name}.qcow2`);
  await execute("qemu-img", ["create", "-q", "-f", "qcow2", "-b", image.path, "-F", "qcow2", source]);
  return { target: "vda", device: "disk", bus: "virtio", source, sourceType: "file", format: "qcow2" };
}

export async function emptyDisk(lab: Lab, name: string, target: string, sizeMiB = 16): Promise<VmDisk> {
  const source = path.join(lab.sharedFolder, `${name}-${target}.qcow2`);
  await execute("qemu-img", ["create", "-q", "-f", "qcow2", source, `${sizeMiB}M`]);
  return { target, device: "disk", bus: "virtio", source, sourceType: "file", format: "qcow2" };
}

export async function overlayOn(lab: Lab, backing: string, name: string): Promise<string> {
  const file = path.join(lab.sharedFolder, name);
  await execute("qemu-img", ["create", "-q", "-f", "qcow2", "-b", backing, "-F", "qcow2", file]);
  return file;
}

export function labNic(network = "default"): VmNic {
  return { mac: randomMac(), type: "network", network, model: "virtio" };
}

export function testMetadata(overrides: Partial<GuestMetadata> = {}): GuestMetadata {
  return {
    vmId: newId("vm"),
    description: "",
    tags: [],
    folder: "",
    template: false,
    createdAt: "2026-01-02T03:04:05.000Z",
    snapshots: [],
    currentSnapshotId: null,
    ...overrides,
  };
}

export function testDefinition(name: string, spec: Partial<VmSpec> = {}): GuestDefinition {
  return {
    uuid: randomUUID(),
    name,
    metadata: testMetadata(),
    spec: {
      domainType: "qemu",
      architecture: "x86_64",
      cpu: { count: 1 },
      memory: { sizeMiB: 192 },
      disks: [],
      nics: [],
      graphics: "none",
      ...spec,
    },
  };
}

/** For assert.rejects. */
export function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    if (error instanceof AppError && error.code === code) return true;
    throw error;
  };
}

/** A guest's serial console, as a person would use it. */
export class SerialConsole implements AsyncDisposable {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  #text = "";
  #changed = Promise.withResolvers<void>();

  constructor(channel: ByteChannel) {
    this.#writer = channel.writable.getWriter();
    this.#reading = this.#read(channel.readable).catch(() => undefined);
  }

  async #read(readable: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of readable) {
      this.#text += decoder.decode(chunk, { stream: true });
      this.#changed.resolve();
      this.#changed = Promise.withResolvers<void>();
    }
  }

  get text(): string {
    return this.#text;
  }

  /** Resolves with the match in what came since the last one; rejects with what came instead. */
  async expect(pattern: RegExp, timeoutMs = 180_000): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const match = pattern.exec(this.#text);
      if (match !== null) {
        this.#text = this.#text.slice(match.index + match[0].length);
        return match;
      }
      if (deadline.aborted) throw new Error(`no ${pattern} within ${timeoutMs} ms, but: ${this.#text.slice(-2000)}`);
      await Promise.race([this.#changed.promise, systemClock.sleep(500)]);
    }
  }

  async send(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Runs a shell command in the guest and answers its output. */
  async run(command: string, timeoutMs = 90_000): Promise<string> {
    const mark = randomUUID().slice(0, 8);
    // The echo of what is typed has neither mark in one piece.
    await this.send(`echo "<"${mark}; ${command}; echo "</"${mark}`);
    const match = await this.expect(new RegExp(`<${mark}([\\s\\S]*)</${mark}`), timeoutMs);
    return (match[1] ?? "").replaceAll("\r", "").trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.abort().catch(() => undefined);
    await this.#reading;
  }
}

/** The guest image on lab hosts: it boots, gets an address, obeys, takes hot-plugged hardware, migrates. Needs root. */
import assert from "node:assert/strict";
import { copyFile, mkdtempDisposable, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { CommandError, run } from "#command.ts";
import { guestImage } from "#guest-image.ts";
import type { LabHost } from "#host.ts";
import { Lab } from "#lab.ts";
import { waitFor } from "#wait.ts";

const signal = AbortSignal.timeout(600_000);
const bootTimeoutMs = 90_000;
/** Free slots for what is plugged in later. */
const spareSlots = `<controller type='pci' index='0' model='pcie-root'/>${"<controller type='pci' model='pcie-root-port'/>".repeat(8)}`;
const guestAgentChannel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";

interface DomainOptions {
  readonly network: string;
  readonly disk: string;
  /** Content of <os> that asks for UEFI. */
  readonly firmware?: string;
  readonly devices?: string;
  readonly memoryMiB?: number;
}

function domainXml(name: string, options: DomainOptions): string {
  const memory = options.memoryMiB ?? 256;
  return `<domain type='qemu'><name>${name}</name>
<maxMemory slots='2' unit='MiB'>1024</maxMemory><memory unit='MiB'>${memory}</memory><vcpu current='1'>2</vcpu>
${operatingSystem(options.firmware)}
<cpu mode='custom'><model>qemu64</model><numa><cell id='0' cpus='0-1' memory='${memory}' unit='MiB'/></numa></cpu>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='${options.disk}'/>
<target dev='vda' bus='virtio'/></disk>
<controller type='scsi' model='virtio-scsi'/>${spareSlots}
<interface type='network'><source network='${options.network}'/><model type='virtio'/></interface>
<serial type='file'><source path='${consoleFile(options.disk)}'/></serial>${guestAgentChannel}
<memballoon model='virtio'/><video><model type='vga'/></video>${options.devices ?? ""}</devices></domain>`;
}

function operatingSystem(firmware: string | undefined): string {
  const type = "<type machine='q35'>hvm</type>";
  if (firmware === undefined) return `<os>${type}</os><features><acpi/></features>`;
  return `<os firmware='efi'>${type}${firmware}</os><features><acpi/><smm state='on'/></features>`;
}

function consoleFile(disk: string): string {
  return `${disk}.console`;
}

async function startDomain(
  lab: Lab,
  host: LabHost,
  name: string,
  options: Omit<DomainOptions, "disk">,
): Promise<string> {
  const disk = path.join(lab.sharedFolder, `${name}.qcow2`);
  const { path: image } = await guestImage({ signal });
  await copyFile(image, disk);
  const xmlFile = path.join(lab.sharedFolder, `${name}.xml`);
  await writeFile(xmlFile, domainXml(name, { ...options, disk }));
  await host.exec(["virsh", "define", xmlFile], { signal });
  await host.exec(["virsh", "start", name], { signal });
  return disk;
}

/** The rest of the first console line that starts so. */
async function consoleLine(disk: string, start: string): Promise<string> {
  const probe = async (): Promise<string | undefined> => {
    const lines = (await readFile(consoleFile(disk), "latin1").catch(() => "")).split(/\r?\n/u);
    // What is not followed by a line end may still grow.
    return lines.slice(0, -1).find((line) => line.startsWith(start));
  };
  return (await waitFor(`"${start}" on the console of ${disk}`, probe, { signal, timeoutMs: bootTimeoutMs })).slice(
    start.length,
  );
}

/** libvirt hears of the agent a moment after the guest says that it is ready. */
async function agentAnswers(host: LabHost, domain: string): Promise<void> {
  const ping = async (): Promise<true | undefined> =>
    await agent(host, domain, "guest-ping").then(
      () => true,
      () => undefined,
    );
  await waitFor(`the agent of ${domain}`, ping, { signal, timeoutMs: 30_000, intervalMs: 100 });
}

async function agent<T>(host: LabHost, domain: string, command: string, args: object = {}): Promise<T> {
  const request = JSON.stringify({ execute: command, arguments: args });
  const { stdout } = await host.exec(["virsh", "qemu-agent-command", domain, request], { signal });
  return (JSON.parse(stdout) as { return: T }).return;
}

/** What the shell command prints in the guest. */
async function inGuest(host: LabHost, domain: string, shell: string): Promise<string> {
  const exec = { path: "/bin/sh", arg: ["-c", shell], "capture-output": true };
  const { pid } = await agent<{ pid: number }>(host, domain, "guest-exec", exec);
  const status = await waitFor(
    `"${shell}" in the guest`,
    async () => {
      const answer = await agent<{ exited: boolean; "out-data"?: string }>(host, domain, "guest-exec-status", { pid });
      return answer.exited ? answer : undefined;
    },
    { signal, timeoutMs: 30_000 },
  );
  return Buffer.from(status["out-data"] ?? "", "base64")
    .toString()
    .trim();
}

async function becomes(what: string, expected: string, probe: () => Promise<string>): Promise<void> {
  await waitFor(`${what} to be ${expected}`, async () => ((await probe()) === expected ? true : undefined), {
    signal,
    timeoutMs: 30_000,
    intervalMs: 200,
  });
}

suite("guest image", { timeout: 600_000 }, () => {
  let lab: Lab;
  before(async () => {
    lab = await Lab.up({ name: `guest-${process.pid}`, hostCount: 2, signal });
  });
  after(() => lab.down());

  test("boots, gets an address, can be reached, and moves to another host while it counts", async () => {
    const [h1, h2] = [lab.host("h1"), lab.host("h2")];
    const disk = await startDomain(lab, h1, "mover", { network: "lab" });
    await consoleLine(disk, "INNKEEPER-GUEST READY ");
    const address = await consoleLine(disk, "INNKEEPER-GUEST ADDRESS eth0 ");
    await run(["busybox", "ping", "-c", "1", "-W", "5", address], { signal });
    await agentAnswers(h1, "mover");
    await inGuest(h1, "mover", "setsid counter >/dev/null 2>&1 & echo kept >/data/file");
    const count = async (host: LabHost): Promise<number> => Number(await inGuest(host, "mover", "cat /run/counter"));
    const before = await waitFor("the counter", async () => (await count(h1)) || undefined, {
      signal,
      timeoutMs: 30_000,
    });
    const migrate = [
      "virsh",
      "migrate",
      "--live",
      "--p2p",
      "--persistent",
      "--undefinesource",
      "--unsafe",
      "--tls",
      "mover",
    ];
    await h1.exec([...migrate, `qemu+tls://${h2.address}/system`], { signal, timeoutMs: 120_000 });
    assert.equal((await h1.exec(["virsh", "list", "--all", "--name"])).stdout.trim(), "");
    assert.equal((await h2.exec(["virsh", "domstate", "mover"])).stdout.trim(), "running");
    assert((await count(h2)) > before, "the counter went on");
    await run(["busybox", "ping", "-c", "1", "-W", "5", address], { signal });
    assert.equal(await inGuest(h2, "mover", "cat /data/file"), "kept");
    await h2.exec(["virsh", "shutdown", "--mode", "acpi", "mover"], { signal });
    await becomes("its state", "shut off", async () => (await h2.exec(["virsh", "domstate", "mover"])).stdout.trim());
  });

  test("takes hot-added CPU, memory, disks and network card, and gives memory back", async () => {
    const host = lab.host("h1");
    const disk = await startDomain(lab, host, "grower", { network: "default" });
    assert.match(await consoleLine(disk, "INNKEEPER-GUEST ADDRESS eth0 "), /^192\.168\.122\./u);
    await consoleLine(disk, "INNKEEPER-GUEST READY ");
    await agentAnswers(host, "grower");
    const guest = (shell: string) => inGuest(host, "grower", shell);
    const memoryKiB = async (): Promise<number> => Number(await guest("awk '/MemTotal/ {print $2}' /proc/meminfo"));
    await host.exec(["virsh", "setvcpus", "grower", "2", "--live"], { signal });
    await becomes("CPUs", "2", () => guest("nproc"));
    const memoryBefore = await memoryKiB();
    const dimm = path.join(lab.sharedFolder, "dimm.xml");
    const size = "<size unit='MiB'>128</size><node>0</node>";
    await writeFile(dimm, `<memory model='dimm'><target>${size}</target></memory>`);
    await host.exec(["virsh", "attach-device", "grower", dimm, "--live"], { signal });
    const grown = async () => ((await memoryKiB()) > memoryBefore + 100_000 ? true : undefined);
    await waitFor("more memory", grown, { signal, timeoutMs: 30_000, intervalMs: 200 });
    for (const [target, bus] of [
      ["vdb", "virtio"],
      ["sda", "scsi"],
    ] as const) {
      const file = path.join(lab.sharedFolder, `${target}.raw`);
      await run(["truncate", "-s", "16M", file], { signal });
      const how = ["--targetbus", bus, "--driver", "qemu", "--subdriver", "raw", "--live"];
      await host.exec(["virsh", "attach-disk", "grower", file, target, ...how], { signal });
      await becomes(target, "32768", () => guest(`cat /sys/block/${target}/size`));
    }
    await host.exec(["virsh", "attach-interface", "grower", "network", "lab", "--model", "virtio", "--live"], {
      signal,
    });
    await consoleLine(disk, "INNKEEPER-GUEST ADDRESS eth1 10.77.");
    await host.exec(["virsh", "setmem", "grower", "200M", "--live"], { signal });
    const shrunk = async () => ((await memoryKiB()) < memoryBefore ? true : undefined);
    await waitFor("the balloon to take memory", shrunk, { signal, timeoutMs: 30_000, intervalMs: 200 });
    await host.exec(["virsh", "shutdown", "--mode", "agent", "grower"], { signal });
    await becomes("its state", "shut off", async () =>
      (await host.exec(["virsh", "domstate", "grower"])).stdout.trim(),
    );
  });

  test("boots by UEFI with Secure Boot and an emulated TPM, which leave nothing outside the host", async () => {
    const before = await readdir("/var/lib/swtpm-localca").catch(() => []);
    const devices = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>";
    const firmware =
      "<firmware><feature enabled='yes' name='secure-boot'/><feature enabled='yes' name='enrolled-keys'/></firmware>";
    const host = lab.host("h2");
    const disk = await startDomain(lab, host, "secure", { network: "lab", firmware, devices, memoryMiB: 384 });
    await consoleLine(disk, "INNKEEPER-GUEST READY ");
    await agentAnswers(host, "secure");
    assert.match(await inGuest(host, "secure", "dmesg"), /secureboot: Secure boot enabled/u);
    assert.equal(await inGuest(host, "secure", "cat /sys/class/tpm/tpm0/tpm_version_major"), "2");
    await host.exec(["virsh", "destroy", "secure"], { signal });
    await host.exec(["virsh", "undefine", "secure", "--nvram"], { signal });
    assert.deepEqual(await readdir("/var/lib/swtpm-localca").catch(() => []), before);
  });

  test("the image is built once for all who ask, and missing tools are named", async () => {
    await using cache = await mkdtempDisposable(path.join(tmpdir(), "guest-cache-"));
    const built: string[] = [];
    const ask = () => guestImage({ signal, cacheFolder: cache.path, onProgress: (message) => built.push(message) });
    const images = await Promise.all([ask(), ask(), ask()]);
    assert.equal(new Set(images.map((image) => image.path)).size, 1);
    assert.equal(built.length, 1);
    await ask();
    assert.equal(built.length, 1, "the cache answers");
    assert.equal((await readdir(cache.path)).length, 2, "the image and its index, no work files");
    await assert.rejects(run(["no-such-program"]), CommandError);
  });
});

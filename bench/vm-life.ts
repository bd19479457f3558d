/**
 * The life of a VM through Innkeeper's API beside virsh, qemu-img and virt-install doing the same, turn by turn on like
 * hosts of one lab:
 *   node bench/vm-life.ts [rounds]
 * Ours works on h1 and h2, which the control plane (a process of its own) manages; theirs on h3 and h4, which it does not,
 * run on the host itself over the local socket, as an administrator who is logged in there would. A ratio above 1 means
 * that Innkeeper takes longer. Needs root and what `inn lab` needs; virt-install too.
 */
import { randomUUID } from "node:crypto";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { ServerProcess } from "@innkeeper/server/app/test-support/server-process.ts";
import { addLabHosts, startServer } from "./lab-server.ts";
import { median, printRow, timed, verdict } from "./measure.ts";

const rounds = Number(process.argv[2] ?? 7);
const memoryMiB = 256;
const waitMs = 120_000;
/**
 * Given to a guest that has just started or been restored, before the next measure: emulated, it is busy translating its
 * code anew, and how far it has come decides how long its memory takes to be saved or sent.
 */
const restMs = 3_000;

/** There and back: how much memory a guest happens to write while the last of it is sent decides the downtime. */
const migrationCount = 4;

type Figures = Record<string, number>;

function request(name: string, disk: string) {
  const memory = { sizeMiB: memoryMiB };
  return { name, host: "h1", cpu: { count: 1 }, memory, disks: [{ path: disk }], nics: [{ network: "lab" }] };
}

/** Ours: one VM, by the API. */
class Ours {
  readonly #server: ServerProcess;
  readonly #disk: string;

  constructor(server: ServerProcess, disk: string) {
    this.#server = server;
    this.#disk = disk;
  }

  async round(): Promise<Figures> {
    const server = this.#server;
    const figures: Figures = {};
    const body = { ...request("ours", this.#disk), start: true };
    figures["create"] = await timed(() => server.succeed("POST", "/vms", body));
    const { id } = await this.#vm();
    await this.#until("its address", ({ addresses }) => addresses.length > 0);
    await delay(restMs);
    figures["disk-snapshot"] = await timed(() => server.succeed("POST", `/vms/${id}/snapshots`, { name: "disk" }));
    const memory = { name: "memory", memory: true };
    let snapshotId = "";
    figures["memory-snapshot"] = await timed(async () => {
      const { result } = await server.succeed("POST", `/vms/${id}/snapshots`, memory);
      snapshotId = String(result?.["snapshotId"]);
    });
    figures["revert"] = await timed(() => server.succeed("POST", `/snapshots/${snapshotId}/revert`));
    const clone = { name: "clone", linked: true, snapshot: snapshotId };
    figures["clone"] = await timed(() => server.succeed("POST", `/vms/${id}/clone`, clone));
    Object.assign(
      figures,
      await migrations(async (move) => {
        const host = move % 2 === 0 ? "h2" : "h1";
        const { result } = await server.succeed("POST", `/vms/${id}/migrate`, { host });
        return () => Number(result?.["downtimeMs"]);
      }),
    );
    for (const name of ["clone", "ours"]) {
      await server.succeed("DELETE", `/vms/${(await this.#vm(name)).id}?force=true&deleteDisks=true`);
    }
    return figures;
  }

  async #vm(name = "ours"): Promise<Vm> {
    const { items } = await this.#server.call<{ items: Vm[] }>("GET", `/vms?filter=name%3D${name}`);
    const [vm] = items;
    if (vm === undefined) throw new Error(`there is no VM ${name}`);
    return vm;
  }

  async #until(what: string, wish: (vm: Vm) => boolean): Promise<void> {
    const deadlineMs = performance.now() + waitMs;
    while (!wish(await this.#vm())) {
      if (performance.now() > deadlineMs) throw new Error(`waited in vain for ${what}`);
      await delay(100);
    }
  }
}

/** Theirs: the same XML, by hand. */
class Theirs {
  readonly #hosts: readonly [LabHost, LabHost];
  readonly #disk: string;
  readonly #folder: string;
  readonly #xml: string;

  constructor(hosts: readonly [LabHost, LabHost], folder: string, disk: string, xml: string) {
    this.#hosts = hosts;
    this.#folder = folder;
    this.#disk = disk;
    this.#xml = xml;
  }

  async round(): Promise<Figures> {
    const [host, target] = this.#hosts;
    const virsh = (...argv: string[]) => host.exec(["virsh", "--quiet", ...argv], { timeoutMs: waitMs });
    const file = (name: string): string => path.join(this.#folder, name);
    const write = async (name: string, xml: string): Promise<string> => {
      await writeFile(file(name), xml);
      return file(name);
    };
    const xml = await write("domain.xml", this.#xml);
    const figures: Figures = {};
    figures["create"] = await timed(async () => {
      await virsh("define", xml);
      await virsh("start", "theirs");
    });
    await this.#untilReady(host);
    await delay(restMs);
    figures["disk-snapshot"] = await timed(() =>
      virsh(
        "snapshot-create-as",
        "theirs",
        "disk",
        "--disk-only",
        "--atomic",
        "--diskspec",
        `vda,file=${file("s1.qcow2")}`,
      ),
    );
    figures["memory-snapshot"] = await timed(() =>
      virsh(
        "snapshot-create-as",
        "theirs",
        "memory",
        "--atomic",
        "--live",
        "--memspec",
        `file=${file("s2.mem")}`,
        "--diskspec",
        `vda,file=${file("s2.qcow2")}`,
      ),
    );
    const overlay = (name: string, base: string) =>
      host.exec(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", name]);
    const saved = (await virsh("save-image-dumpxml", file("s2.mem"), "--security-info")).stdout;
    const live = await write("live.xml", saved.replaceAll(file("s1.qcow2"), file("s3.qcow2")));
    const inactive = (await virsh("dumpxml", "theirs", "--inactive", "--security-info")).stdout;
    const reverted = await write("reverted.xml", inactive.replaceAll(file("s2.qcow2"), file("s3.qcow2")));
    figures["revert"] = await timed(async () => {
      await virsh("destroy", "theirs");
      await overlay(file("s3.qcow2"), file("s1.qcow2"));
      await virsh("define", reverted);
      await virsh("restore", file("s2.mem"), "--xml", live);
    });
    const clone = await write("clone.xml", otherVm(this.#xml, "theirs-clone", file("clone.qcow2"), this.#disk));
    figures["clone"] = await timed(async () => {
      await overlay(file("clone.qcow2"), file("s1.qcow2"));
      await virsh("define", clone);
    });
    // libvirt migrates no domain that has snapshots of its own.
    for (const name of ["memory", "disk"]) await virsh("snapshot-delete", "theirs", name, "--metadata");
    Object.assign(
      figures,
      await migrations(async (move) => {
        const [from, to] = move % 2 === 0 ? [host, target] : [target, host];
        const options = ["--live", "--p2p", "--persistent", "--undefinesource", "--unsafe"];
        await from.exec(["virsh", "--quiet", "migrate", ...options, "theirs", to.uri]);
        return async () => {
          const job = await to.exec(["virsh", "--quiet", "domjobinfo", "theirs", "--completed"]);
          return Number(/Total downtime:\s+(\d+)/u.exec(job.stdout)?.[1]);
        };
      }),
    );
    figures["exec"] = await timed(() => virsh("--version"));
    await this.#cleanUp();
    return figures;
  }

  async virtInstall(): Promise<number> {
    const [host] = this.#hosts;
    const argv = ["virt-install", "--connect", "qemu:///system", "--name", "theirs", "--import", "--virt-type", "qemu"];
    const disk = ["--disk", `path=${this.#disk},format=qcow2`, "--memory", String(memoryMiB), "--vcpus", "1"];
    const rest = ["--network", "network=lab", "--osinfo", "generic", "--noautoconsole"];
    const ms = await timed(() => host.exec([...argv, ...disk, ...rest], { timeoutMs: waitMs }));
    await this.#cleanUp();
    return ms;
  }

  /** Its agent answers. */
  async #untilReady(host: LabHost): Promise<void> {
    const deadlineMs = performance.now() + waitMs;
    const ping = ["virsh", "--quiet", "qemu-agent-command", "theirs", '{"execute":"guest-ping"}'];
    for (;;) {
      const isReady = await host.exec(ping).then(
        () => true,
        () => false,
      );
      if (isReady) return;
      if (performance.now() > deadlineMs) throw new Error("waited in vain for the guest of theirs");
      await delay(100);
    }
  }

  async #cleanUp(): Promise<void> {
    for (const host of this.#hosts) {
      for (const name of ["theirs", "theirs-clone"]) {
        for (const argv of [["destroy"], ["undefine", "--snapshots-metadata", "--nvram"]]) {
          await host.exec(["virsh", "--quiet", ...argv, name]).catch(() => undefined);
        }
      }
    }
    for (const name of ["s1.qcow2", "s2.qcow2", "s3.qcow2", "s2.mem", "clone.qcow2"]) {
      await rm(path.join(this.#folder, name), { force: true });
    }
  }
}

/** Means of several; `migrate` answers how to learn the downtime. */
async function migrations(migrate: (index: number) => Promise<() => number | Promise<number>>): Promise<Figures> {
  const sums = { migration: 0, downtime: 0 };
  for (let index = 0; index < migrationCount; index++) {
    let downtimeMs: (() => number | Promise<number>) | undefined;
    await delay(restMs);
    sums.migration += await timed(async () => (downtimeMs = await migrate(index)));
    sums.downtime += (await downtimeMs?.()) ?? Number.NaN;
  }
  return { migration: sums.migration / migrationCount, downtime: sums.downtime / migrationCount };
}

/** The domain under another name, with other ids and another disk, and without Innkeeper's own facts. */
function otherVm(xml: string, name: string, disk: string, before: string): string {
  return xml
    .replace(/<name>[^<]*<\/name>/u, `<name>${name}</name>`)
    .replace(/<uuid>[^<]*<\/uuid>/u, `<uuid>${randomUUID()}</uuid>`)
    .replace(/<metadata>[\s\S]*<\/metadata>/u, "")
    .replace(/<mac address="[^"]*"\/>/u, "")
    .replaceAll(before, disk);
}

const TASKS: readonly (readonly [ours: string, theirs: string, text: string, wanted: string])[] = [
  ["create", "create", "create and start | virsh define, start", "≤ 1.15"],
  ["create", "virtInstall", "create and start | virt-install --import", "< 1"],
  ["disk-snapshot", "disk-snapshot", "snapshot of disks | virsh snapshot-create-as", "≤ 1.1"],
  ["memory-snapshot", "memory-snapshot", "snapshot with memory | virsh snapshot-create-as --live", "≤ 1.1"],
  ["revert", "revert", "revert to it | virsh destroy, qemu-img, define, restore", "≤ 1.1"],
  ["clone", "clone", "linked clone | qemu-img create, virsh define", "≤ 1.1"],
  ["migration", "migration", "live migration | virsh migrate", "≤ 1.1"],
  ["downtime", "downtime", "downtime of it | the same", "≤ 1.1"],
];

function report(ours: readonly Figures[], theirs: readonly Figures[]): void {
  const widths = [56, 10, 10, 7, 13];
  printRow([`medians of ${rounds} rounds`, "Innkeeper", "theirs", "ratio", "wanted"], widths);
  const figure = (all: readonly Figures[], name: string) => median(all.map((each) => each[name] ?? Number.NaN));
  for (const [our, their, text, wanted] of TASKS) {
    const [here, there] = [figure(ours, our), figure(theirs, their)];
    const ratio = here / there;
    const cells = [`${here.toFixed(0)} ms`, `${there.toFixed(0)} ms`, `${ratio.toFixed(2)}×`, verdict(ratio, wanted)];
    printRow([text, ...cells], widths);
  }
  console.log(
    `Theirs counts the start of each program (virsh, qemu-img) on the host, with nsenter into it ${figure(theirs, "exec").toFixed(0)} ms each: an administrator at a shell waits for the program, too. Ours counts the HTTP request and the task.`,
  );
}

const folder = await mkdtemp(path.join(tmpdir(), "inn-bench-"));
try {
  await using lab = await Lab.up({ name: `bench-${process.pid}`, hostCount: 4 });
  await using server = await startServer(folder);
  await server.login(server.firstPassword ?? "");
  const image = await guestImage();
  const [ourDisk, theirDisk] = ["ours.qcow2", "theirs.qcow2"].map((name) => path.join(lab.sharedFolder, name));
  const [, , third, fourth] = lab.hosts;
  if (ourDisk === undefined || theirDisk === undefined || third === undefined || fourth === undefined)
    throw new Error();
  const poolIds = await addLabHosts(server, lab.hosts.slice(0, 2), lab.clientTls);
  const freshDisks = async (): Promise<void> => {
    for (const disk of [ourDisk, theirDisk]) await copyFile(image.path, disk);
    for (const poolId of poolIds) await server.call("POST", `/pools/${poolId}/refresh`);
  };
  await freshDisks();
  const ours = new Ours(server, ourDisk);
  const { result } = await server.succeed("POST", "/vms", request("model", ourDisk));
  const { stdout } = await lab.host("h1").exec(["virsh", "dumpxml", "--inactive", "--security-info", "model"]);
  await server.succeed("DELETE", `/vms/${String(result?.["vmId"])}`);
  const theirs = new Theirs(
    [third, fourth],
    lab.sharedFolder,
    theirDisk,
    otherVm(stdout, "theirs", theirDisk, ourDisk),
  );
  const all: { ours: Figures[]; theirs: Figures[] } = { ours: [], theirs: [] };
  for (let round = -1; round < rounds; round++) {
    await freshDisks();
    const theirTurn = async (): Promise<Figures> => ({
      ...(await theirs.round()),
      virtInstall: await theirs.virtInstall(),
    });
    // Who goes first changes from round to round, so that neither always meets the warmer machine.
    const isOursFirst = round % 2 === 0;
    const first = isOursFirst ? await ours.round() : await theirTurn();
    const second = isOursFirst ? await theirTurn() : await ours.round();
    const [our, their] = isOursFirst ? [first, second] : [second, first];
    // The first warms up.
    if (round < 0) continue;
    all.ours.push(our);
    all.theirs.push(their);
  }
  report(all.ours, all.theirs);
} finally {
  await rm(folder, { recursive: true });
}

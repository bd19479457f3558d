/**
 * Second part of the demo: one VM through its life. Each step proves what it claims inside the guest, through the serial
 * console, or on the host, with virsh.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Vm, VmChange } from "@innkeeper/contract/resource/vm.ts";
import { formatDurationMs } from "@innkeeper/contract/unit.ts";
import { CliError } from "#cli-error.ts";
import { find } from "#lookup.ts";
import { addressesOf } from "#page/vm.ts";
import { type Datacenter, sharedPool } from "#program/demo/datacenter.ts";
import { GuestConsole } from "#program/demo/guest-console.ts";
import type { DemoLayout } from "#program/demo/layout.ts";
import type { Note, Report } from "#program/demo/report.ts";
import { isEnded, requireSuccess, waitForTask } from "#task.ts";
import { watch } from "#watch.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";

const bootTimeoutMs = 90_000;
const taskTimeoutMs = 120_000;
const vmName = "web";
const cloneName = "web-clone";
const snapshotName = "golden-moment";

export type SummaryRow = readonly [what: string, figure: string];

export class GuestTour implements AsyncDisposable {
  readonly #datacenter: Datacenter;
  readonly #layout: DemoLayout;
  readonly #report: Report;
  readonly #signal: AbortSignal;
  readonly #summary: SummaryRow[] = [];
  #vmId = "";
  #console: GuestConsole | undefined;

  constructor(datacenter: Datacenter, layout: DemoLayout, report: Report, signal: AbortSignal) {
    this.#datacenter = datacenter;
    this.#layout = layout;
    this.#report = report;
    this.#signal = signal;
  }

  /** Resolves with the rows of the summary. */
  async run(): Promise<readonly SummaryRow[]> {
    await this.#report.step(`create VM "${vmName}" from the image`, async (note) => await this.#create(note));
    await this.#report.step("start it and watch it boot on its serial console", async (note) => await this.#boot(note));
    await this.#report.step("see its address in `inn vm show`", async (note) => await this.#address(note));
    await this.#report.step(
      "snapshot with memory, change the guest, revert",
      async (note) => await this.#snapshot(note),
    );
    await this.#report.step("linked clone of the snapshot, started", async (note) => await this.#clone(note));
    await this.#report.step(
      "live migration while a counter runs in the guest",
      async (note) => await this.#migrate(note),
    );
    await this.#report.step("pin its CPUs, shrink its memory, add a disk, all while it runs", async (note) => {
      await this.#pin(note);
      await this.#balloon(note);
      await this.#addDisk(note);
    });
    return this.#summary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#console?.[Symbol.asyncDispose]();
  }

  async #create(note: Note): Promise<void> {
    const { api, hosts, image } = this.#datacenter;
    const body = {
      name: vmName,
      ...(hosts[0] === undefined ? {} : { host: hosts[0].id }),
      cpu: { count: 2 },
      memory: { sizeMiB: 256 },
      disks: [{ image: image.id, pool: sharedPool }],
      nics: [{ network: "lab" }],
      description: "made by inn demo",
    };
    const task = await this.#done(await api.call("vmCreate", { body }));
    const vm = await find(api, "vm", vmName);
    this.#vmId = vm.id;
    note(
      `${vm.id}: ${vm.spec.cpu.count} vCPUs, ${vm.spec.memory.sizeMiB} MiB, ${vm.spec.machine ?? ""}, disk ${vm.spec.disks[0]?.source ?? "none"}`,
    );
    this.#summary.push(["VM from the image", formatDurationMs(durationOf(task))]);
  }

  async #boot(note: Note): Promise<void> {
    const { api } = this.#datacenter;
    const startMs = performance.now();
    const task = await api.call("vmStart", { parameters: { vmId: this.#vmId } });
    const [console] = await Promise.all([this.#openConsoleEarly(), this.#done(task)]);
    const ready = await console.expect("the end of the boot", /INNKEEPER-GUEST READY ([\d.]+)/, bootTimeoutMs);
    const durationMs = performance.now() - startMs;
    const kernel = await console.run("uname -sr");
    note(`the guest says: ${kernel}, ready after ${ready[1]} s of its own time; a root shell answers`);
    this.#summary.push(["start to shell prompt", formatDurationMs(durationMs)]);
  }

  async #address(note: Note): Promise<void> {
    const vm = await this.#until("an address of the guest", 60_000, (vm) => addressesOf(vm).length > 0);
    const said = await this.#shell().run("ip -4 -o addr show eth0");
    const [address = ""] = addressesOf(vm);
    if (!said.includes(address)) throw new Error(`the API says ${address}, the guest says: ${said}`);
    note(`${address}, the same as in the guest`);
    this.#summary.push(["address of the guest", address]);
  }

  async #snapshot(note: Note): Promise<void> {
    const { api } = this.#datacenter;
    const parameters = { vmId: this.#vmId };
    await this.#shell().run("echo before >/run/proof; echo before >/data/proof; sync");
    const bootId = await this.#shell().run("cat /proc/sys/kernel/random/boot_id");
    const taken = await this.#done(
      await api.call("snapshotCreate", { parameters, body: { name: snapshotName, memory: true } }),
    );
    await this.#shell().run("echo after >/run/proof; echo after >/data/proof; sync");
    const changed = await this.#shell().run("cat /run/proof /data/proof");
    const snapshot = await find(api, "snapshot", snapshotName, parameters);
    await this.#closeConsole();
    const reverted = await this.#done(await api.call("snapshotRevert", { parameters: { snapshotId: snapshot.id } }));
    await this.#openConsole();
    const back = await this.#shell().run("cat /run/proof /data/proof");
    const sameBoot = (await this.#shell().run("cat /proc/sys/kernel/random/boot_id")) === bootId;
    if (changed !== "after\nafter" || back !== "before\nbefore" || !sameBoot) {
      throw new Error(
        `in memory and on disk there was "${changed}", after the revert "${back}"; the same boot: ${sameBoot}`,
      );
    }
    note(`file in memory and file on disk: before → after → revert → before; the same boot goes on`);
    this.#summary.push(
      ["snapshot with memory", formatDurationMs(durationOf(taken))],
      ["revert to it", formatDurationMs(durationOf(reverted))],
    );
  }

  async #clone(note: Note): Promise<void> {
    const { api } = this.#datacenter;
    const snapshot = await find(api, "snapshot", snapshotName, { vmId: this.#vmId });
    const body = { name: cloneName, linked: true, snapshot: snapshot.id };
    const task = await this.#done(await api.call("vmClone", { parameters: { vmId: this.#vmId }, body }));
    const clone = await find(api, "vm", cloneName);
    await this.#done(await api.call("vmStart", { parameters: { vmId: clone.id } }));
    const logFile = this.#layout.consoleLog(cloneName);
    await using console = await GuestConsole.open(api, { vmId: clone.id, logFile, signal: this.#signal });
    await console.expect("the clone's boot", /INNKEEPER-GUEST READY/, bootTimeoutMs);
    const proof = await console.run("cat /data/proof");
    if (proof !== "before") throw new Error(`the clone's disk has "${proof}" instead of the snapshot's "before"`);
    const [disk] = (await api.call("vmGet", { parameters: { vmId: clone.id } })).spec.disks;
    note(`${disk?.source ?? "?"} on ${disk?.backingChain?.[0] ?? "?"}; it booted and has the snapshot's data`);
    this.#summary.push(["linked clone", formatDurationMs(durationOf(task))]);
  }

  async #migrate(note: Note): Promise<void> {
    const { api, hosts } = this.#datacenter;
    const before = await api.call("vmGet", { parameters: { vmId: this.#vmId } });
    const target = hosts.find(({ id }) => id !== before.hostId);
    const source = hosts.find(({ id }) => id === before.hostId);
    if (target === undefined) throw new Error("there is no second host");
    const bootId = await this.#shell().run("cat /proc/sys/kernel/random/boot_id");
    await this.#shell().run("setsid counter >/dev/null 2>&1 & sleep 1");
    const first = await this.#counter();
    await this.#closeConsole();
    const body = { host: target.id };
    const task = await this.#done(await api.call("vmMigrate", { parameters: { vmId: this.#vmId }, body }));
    await this.#openConsole();
    const second = await this.#counter();
    const third = await this.#counter(second);
    const sameBoot = (await this.#shell().run("cat /proc/sys/kernel/random/boot_id")) === bootId;
    const after = await api.call("vmGet", { parameters: { vmId: this.#vmId } });
    if (!(first < second && second < third) || !sameBoot || after.hostId !== target.id) {
      throw new Error(`the counter said ${first}, ${second}, ${third}; the same boot: ${sameBoot}; on ${after.hostId}`);
    }
    const downtimeMs = task.result?.["downtimeMs"];
    const downtime = typeof downtimeMs === "number" ? formatDurationMs(downtimeMs) : "not told by the hypervisor";
    note(`${source?.name ?? "?"} → ${target.name} in ${formatDurationMs(durationOf(task))}, downtime ${downtime}`);
    note(`the guest's counter: ${first} before, ${second} and ${third} after; the same boot goes on`);
    await this.#shell().run("kill $(pidof -x counter) || killall counter");
    this.#summary.push(["live migration", formatDurationMs(durationOf(task))], ["downtime of it", downtime]);
  }

  async #pin(note: Note): Promise<void> {
    const { lab } = this.#datacenter;
    const vm = await this.#change({
      cpu: {
        pinning: [
          { vcpu: 0, hostCpus: "0" },
          { vcpu: 1, hostCpus: "1" },
        ],
      },
    });
    const host = this.#datacenter.hosts.find(({ id }) => id === vm.hostId);
    const { stdout } = await lab
      .host(host?.name ?? "")
      .exec(["virsh", "vcpupin", vmName, "--live"], { signal: this.#signal });
    const pinned = stdout.split("\n").flatMap((line) => /^\s*(\d+)\s+(\S+)\s*$/.exec(line)?.slice(1).join("→") ?? []);
    if (pinned.join() !== "0→0,1→1") throw new Error(`virsh vcpupin says ${JSON.stringify(stdout)}`);
    note(`virsh on ${host?.name ?? "?"} sees vCPUs pinned to host CPUs: ${pinned.join(", ")}`);
    this.#summary.push(["vCPUs pinned", pinned.join(", ")]);
  }

  async #balloon(note: Note): Promise<void> {
    const targetMiB = 192;
    const memory = async (): Promise<number> =>
      Number(await this.#shell().run("awk '/MemTotal/ {print $2}' /proc/meminfo")) / 1024;
    const before = await memory();
    await this.#change({ memory: { balloonMiB: targetMiB } });
    const deadlineMs = performance.now() + 30_000;
    let after = await memory();
    while (before - after < (256 - targetMiB) * 0.8) {
      if (performance.now() > deadlineMs)
        throw new Error(`the guest still has ${Math.round(after)} MiB of ${Math.round(before)}`);
      after = await memory();
    }
    const told = (vm: Vm): boolean => vm.spec.memory.balloonMiB === targetMiB;
    await this.#until(`the API to say that the balloon is at ${targetMiB} MiB`, 30_000, told);
    note(
      `the guest sees ${Math.round(after)} MiB of memory instead of ${Math.round(before)} MiB (balloon at ${targetMiB} MiB)`,
    );
    this.#summary.push(["memory balloon", `${Math.round(before)} → ${Math.round(after)} MiB in the guest`]);
  }

  async #addDisk(note: Note): Promise<void> {
    const list = "ls /sys/block | grep -E '^(vd|sd)'";
    const before = (await this.#shell().run(list)).split(/\s+/);
    const vm = await this.#change({ disksAdd: [{ capacityBytes: 64 * 1024 ** 2, pool: sharedPool }] });
    const seen = await this.#shell().run(
      `for i in $(seq 100); do [ $(${list} | wc -l) -gt ${before.length} ] && break; usleep 100000; done; ${list}`,
      30_000,
    );
    const added = seen.split(/\s+/).find((name) => !before.includes(name));
    if (added === undefined) throw new Error(`the guest sees no new disk, only ${seen}`);
    const sectors = Number(await this.#shell().run(`cat /sys/block/${added}/size`));
    note(
      `the guest sees ${added} with ${(sectors * 512) / 1024 ** 2} MiB; the API lists ${vm.spec.disks.map(({ target }) => target).join(", ")}`,
    );
    this.#summary.push(["disk added", `${added}, ${(sectors * 512) / 1024 ** 2} MiB`]);
  }

  async #change(body: VmChange): Promise<Vm> {
    const { api } = this.#datacenter;
    const parameters = { vmId: this.#vmId };
    await this.#done(await api.call("vmChange", { parameters, body }));
    return await api.call("vmGet", { parameters });
  }

  /** The next number that the counter in the guest says aloud. */
  async #counter(after = -1): Promise<number> {
    const console = this.#shell();
    let from = console.text.length;
    for (;;) {
      const match = await console.expect("the guest's counter", /INNKEEPER-GUEST COUNTER (\d+)\r?\n/, 20_000, from);
      if (Number(match[1]) > after) return Number(match[1]);
      from += match.index + match[0].length;
    }
  }

  async #done(task: Task): Promise<Task> {
    const { api } = this.#datacenter;
    if (isEnded(task)) return requireSuccess(task);
    return requireSuccess(await waitForTask(api, task, { signal: this.#signal, timeoutMs: taskTimeoutMs }));
  }

  /** Follows the change log until the VM is as wished. */
  async #until(what: string, timeoutMs: number, wish: (vm: Vm) => boolean): Promise<Vm> {
    const { api } = this.#datacenter;
    const vm = await api.call("vmGet", { parameters: { vmId: this.#vmId } });
    if (wish(vm)) return vm;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([this.#signal, deadline]);
    for await (const change of watch(api, { since: vm.revision, kinds: ["vm"], signal })) {
      if (change.id === this.#vmId && change.operation === "put" && wish(change.resource as Vm))
        return change.resource as Vm;
    }
    this.#signal.throwIfAborted();
    throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}`);
  }

  #shell(): GuestConsole {
    if (this.#console === undefined) throw new Error("the console is not open");
    return this.#console;
  }

  async #openConsole(): Promise<GuestConsole> {
    const logFile = this.#layout.consoleLog(vmName);
    this.#console = await GuestConsole.open(this.#datacenter.api, { vmId: this.#vmId, logFile, signal: this.#signal });
    return this.#console;
  }

  /** As soon as there is one: what a guest says before anyone listens is lost. */
  async #openConsoleEarly(): Promise<GuestConsole> {
    const deadlineMs = performance.now() + taskTimeoutMs;
    for (;;) {
      try {
        return await this.#openConsole();
      } catch (error) {
        const early = error instanceof CliError && error.detail.code === "invalid_state";
        if (!early || performance.now() > deadlineMs) throw error;
      }
      await delay(50, undefined, { signal: this.#signal });
    }
  }

  async #closeConsole(): Promise<void> {
    await this.#console?.[Symbol.asyncDispose]();
    this.#console = undefined;
  }
}

function durationOf(task: Task): number {
  return Date.parse(task.finishedAt ?? "") - Date.parse(task.startedAt ?? task.createdAt);
}

/**
 * Second part of the demo: one VM through its life. Each step proves what it claims inside the guest, through the serial
 * console.
 */
import { formatDurationMs } from "@innkeeper/contract/unit.ts";
import { find } from "#lookup.ts";
import { addressesOf } from "#page/vm.ts";
import { type Datacenter, sharedPool } from "#program/demo/datacenter.ts";
import { DemoGuest, durationOf, guestName, type SummaryRow } from "#program/demo/demo-guest.ts";
import { GuestConsole } from "#program/demo/guest-console.ts";
import { addDisk, guestMemoryMiB, pin, shrinkMemory } from "#program/demo/guest-change.ts";
import type { DemoLayout } from "#program/demo/layout.ts";
import type { Note, Report } from "#program/demo/report.ts";

const bootTimeoutMs = 90_000;
const cloneName = "web-clone";
const snapshotName = "golden-moment";

type GuestStep = (guest: DemoGuest, note: Note) => Promise<void>;

const steps: readonly (readonly [title: string, ...GuestStep[]])[] = [
  [`create VM "${guestName}" from the image`, create],
  ["start it and watch it boot on its serial console", boot],
  ["see its address in `inn vm show`", address],
  ["snapshot with memory, change the guest, revert", snapshot],
  ["linked clone of the snapshot, started", clone],
  ["live migration while a counter runs in the guest", migrate],
  ["pin its CPUs, shrink its memory, add a disk, all while it runs", pin, shrinkMemory, addDisk],
];

/** Resolves with the rows of the summary. */
export async function tour(
  datacenter: Datacenter,
  layout: DemoLayout,
  report: Report,
  signal: AbortSignal,
): Promise<readonly SummaryRow[]> {
  await using guest = new DemoGuest(datacenter, layout, signal);
  for (const [title, ...parts] of steps) {
    await report.step(title, async (note) => {
      for (const part of parts) await part(guest, note);
    });
  }
  return guest.summary;
}

async function create(guest: DemoGuest, note: Note): Promise<void> {
  const { api, hosts, image } = guest.datacenter;
  const body = {
    name: guestName,
    ...(hosts[0] === undefined ? {} : { host: hosts[0].id }),
    cpu: { count: Math.min(2, hosts[0]?.hardware?.cpuCount ?? 1) },
    memory: { sizeMiB: guestMemoryMiB },
    disks: [{ image: image.id, pool: sharedPool }],
    nics: [{ network: "lab" }],
    description: "made by inn demo",
  };
  const task = await guest.done(await api.call("vmCreate", { body }));
  const vm = await find(api, "vm", guestName);
  guest.vmId = vm.id;
  note(
    `${vm.id}: ${vm.spec.cpu.count} vCPUs, ${vm.spec.memory.sizeMiB} MiB, ${vm.spec.machine ?? ""}, disk ${vm.spec.disks[0]?.source ?? "none"}`,
  );
  guest.summary.push(["VM from the image", formatDurationMs(durationOf(task))]);
}

async function boot(guest: DemoGuest, note: Note): Promise<void> {
  const { api } = guest.datacenter;
  const startMs = performance.now();
  const task = await api.call("vmStart", { parameters: { vmId: guest.vmId } });
  const [console] = await Promise.all([guest.openConsoleEarly(), guest.done(task)]);
  const ready = await console.expect("the end of the boot", /INNKEEPER-GUEST READY ([\d.]+)/, bootTimeoutMs);
  const durationMs = performance.now() - startMs;
  const kernel = await console.run("uname -sr");
  note(`the guest says: ${kernel}, ready after ${ready[1]} s of its own time; a root shell answers`);
  guest.summary.push(["start to shell prompt", formatDurationMs(durationMs)]);
}

async function address(guest: DemoGuest, note: Note): Promise<void> {
  const vm = await guest.until("an address of the guest", 60_000, (vm) => addressesOf(vm).length > 0);
  const said = await guest.shell().run("ip -4 -o addr show eth0");
  const [address = ""] = addressesOf(vm);
  if (!said.includes(address)) throw new Error(`the API says ${address}, the guest says: ${said}`);
  note(`${address}, the same as in the guest`);
  guest.summary.push(["address of the guest", address]);
}

async function snapshot(guest: DemoGuest, note: Note): Promise<void> {
  const { api } = guest.datacenter;
  const parameters = { vmId: guest.vmId };
  await guest.shell().run("echo before >/run/proof; echo before >/data/proof; sync");
  const bootId = await guest.shell().run("cat /proc/sys/kernel/random/boot_id");
  const taken = await guest.done(
    await api.call("snapshotCreate", { parameters, body: { name: snapshotName, memory: true } }),
  );
  await guest.shell().run("echo after >/run/proof; echo after >/data/proof; sync");
  const changed = await guest.shell().run("cat /run/proof /data/proof");
  const snapshot = await find(api, "snapshot", snapshotName, parameters);
  await guest.closeConsole();
  const reverted = await guest.done(await api.call("snapshotRevert", { parameters: { snapshotId: snapshot.id } }));
  await guest.openConsole();
  const back = await guest.shell().run("cat /run/proof /data/proof");
  const sameBoot = (await guest.shell().run("cat /proc/sys/kernel/random/boot_id")) === bootId;
  if (changed !== "after\nafter" || back !== "before\nbefore" || !sameBoot) {
    throw new Error(
      `in memory and on disk there was "${changed}", after the revert "${back}"; the same boot: ${sameBoot}`,
    );
  }
  note(`file in memory and file on disk: before → after → revert → before; the same boot goes on`);
  guest.summary.push(
    ["snapshot with memory", formatDurationMs(durationOf(taken))],
    ["revert to it", formatDurationMs(durationOf(reverted))],
  );
}

async function clone(guest: DemoGuest, note: Note): Promise<void> {
  const { api } = guest.datacenter;
  const snapshot = await find(api, "snapshot", snapshotName, { vmId: guest.vmId });
  const body = { name: cloneName, linked: true, snapshot: snapshot.id };
  const task = await guest.done(await api.call("vmClone", { parameters: { vmId: guest.vmId }, body }));
  const clone = await find(api, "vm", cloneName);
  await guest.done(await api.call("vmStart", { parameters: { vmId: clone.id } }));
  const logFile = guest.layout.consoleLog(cloneName);
  await using console = await GuestConsole.open(api, { vmId: clone.id, logFile, signal: guest.signal });
  await console.expect("the clone's boot", /INNKEEPER-GUEST READY/, bootTimeoutMs);
  const proof = await console.run("cat /data/proof");
  if (proof !== "before") throw new Error(`the clone's disk has "${proof}" instead of the snapshot's "before"`);
  const [disk] = (await api.call("vmGet", { parameters: { vmId: clone.id } })).spec.disks;
  note(`${disk?.source ?? "?"} on ${disk?.backingChain?.[0] ?? "?"}; it booted and has the snapshot's data`);
  guest.summary.push(["linked clone", formatDurationMs(durationOf(task))]);
}

async function migrate(guest: DemoGuest, note: Note): Promise<void> {
  const { api, hosts } = guest.datacenter;
  const before = await api.call("vmGet", { parameters: { vmId: guest.vmId } });
  const target = hosts.find(({ id }) => id !== before.hostId);
  const source = hosts.find(({ id }) => id === before.hostId);
  if (target === undefined) throw new Error("there is no second host");
  const bootId = await guest.shell().run("cat /proc/sys/kernel/random/boot_id");
  await guest.shell().run("setsid counter >/dev/null 2>&1 & sleep 1");
  const first = await guest.counter();
  await guest.closeConsole();
  const body = { host: target.id };
  const task = await guest.done(await api.call("vmMigrate", { parameters: { vmId: guest.vmId }, body }));
  await guest.openConsole();
  const second = await guest.counter();
  const third = await guest.counter(second);
  const sameBoot = (await guest.shell().run("cat /proc/sys/kernel/random/boot_id")) === bootId;
  const after = await api.call("vmGet", { parameters: { vmId: guest.vmId } });
  if (!(first < second && second < third) || !sameBoot || after.hostId !== target.id) {
    throw new Error(`the counter said ${first}, ${second}, ${third}; the same boot: ${sameBoot}; on ${after.hostId}`);
  }
  const downtimeMs = task.result?.["downtimeMs"];
  const downtime = typeof downtimeMs === "number" ? formatDurationMs(downtimeMs) : "not told by the hypervisor";
  note(`${source?.name ?? "?"} → ${target.name} in ${formatDurationMs(durationOf(task))}, downtime ${downtime}`);
  note(`the guest's counter: ${first} before, ${second} and ${third} after; the same boot goes on`);
  await guest.shell().run("kill $(pidof -x counter) || killall counter");
  guest.summary.push(["live migration", formatDurationMs(durationOf(task))], ["downtime of it", downtime]);
}

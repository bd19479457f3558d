/** The demo's changes of a running guest: each is looked for where it must arrive, on the host or in the guest. */
import { setTimeout as delay } from "node:timers/promises";
import { sharedPool } from "#program/demo/datacenter.ts";
import { type DemoGuest, guestName } from "#program/demo/demo-guest.ts";
import type { Note } from "#program/demo/report.ts";

export const guestMemoryMiB = 256;
const balloonMiB = 192;
const seenTimeoutMs = 30_000;

export async function pin(guest: DemoGuest, note: Note): Promise<void> {
  const { lab, hosts } = guest.datacenter;
  const before = await guest.datacenter.api.call("vmGet", { parameters: { vmId: guest.vmId } });
  const host = hosts.find(({ id }) => id === before.hostId);
  if (host === undefined) throw new Error(`${guestName} is on an unknown host`);
  // One host CPU for each vCPU in turn, from those that the host has: they need not begin at 0.
  const cpus = host.hardware?.numaNodes.flatMap((node) => node.cpus) ?? [];
  const pinning = Array.from({ length: before.spec.cpu.count }, (_unused, vcpu) => ({
    vcpu,
    hostCpus: String(cpus[vcpu % cpus.length] ?? 0),
  }));
  await guest.change({ cpu: { pinning } });
  const { stdout } = await lab
    .host(host.name)
    .exec(["virsh", "vcpupin", guestName, "--live"], { signal: guest.signal });
  const seen = stdout.split("\n").flatMap((line) => /^\s*(\d+)\s+(\S+)\s*$/.exec(line)?.slice(1).join("→") ?? []);
  const wished = pinning.map(({ vcpu, hostCpus }) => `${vcpu}→${hostCpus}`);
  if (seen.join() !== wished.join()) throw new Error(`virsh vcpupin says ${JSON.stringify(stdout)}`);
  note(`virsh on ${host.name} sees vCPUs pinned to host CPUs: ${seen.join(", ")}`);
  guest.summary.push(["vCPUs pinned", seen.join(", ")]);
}

export async function shrinkMemory(guest: DemoGuest, note: Note): Promise<void> {
  const memory = async (): Promise<number> =>
    Number(await guest.shell().run("awk '/MemTotal/ {print $2}' /proc/meminfo")) / 1024;
  const { api } = guest.datacenter;
  const before = await memory();
  await guest.change({ memory: { balloonMiB } });
  // The balloon takes the guest a moment; it is followed from both sides.
  const deadlineMs = performance.now() + seenTimeoutMs;
  let [after, told] = [before, guestMemoryMiB];
  while (before - after < (guestMemoryMiB - balloonMiB) * 0.8 || told !== balloonMiB) {
    if (performance.now() > deadlineMs) {
      throw new Error(`the guest has ${Math.round(after)} MiB of ${Math.round(before)}, the balloon is at ${told} MiB`);
    }
    await delay(50, undefined, { signal: guest.signal });
    after = await memory();
    told = (await api.call("vmStatistics", { parameters: { vmId: guest.vmId } })).memory.balloonMiB;
  }
  note(
    `the guest sees ${Math.round(after)} MiB of memory instead of ${Math.round(before)} MiB (balloon at ${balloonMiB} MiB)`,
  );
  guest.summary.push(["memory balloon", `${Math.round(before)} → ${Math.round(after)} MiB in the guest`]);
}

export async function addDisk(guest: DemoGuest, note: Note): Promise<void> {
  const list = "ls /sys/block | grep -E '^(vd|sd)'";
  const before = (await guest.shell().run(list)).split(/\s+/);
  const vm = await guest.change({ disksAdd: [{ capacityBytes: 64 * 1024 ** 2, pool: sharedPool }] });
  const seen = await guest
    .shell()
    .run(
      `for i in $(seq 100); do [ $(${list} | wc -l) -gt ${before.length} ] && break; usleep 100000; done; ${list}`,
      seenTimeoutMs,
    );
  const added = seen.split(/\s+/).find((name) => !before.includes(name));
  if (added === undefined) throw new Error(`the guest sees no new disk, only ${seen}`);
  const sectors = Number(await guest.shell().run(`cat /sys/block/${added}/size`));
  note(
    `the guest sees ${added} with ${(sectors * 512) / 1024 ** 2} MiB; the API lists ${vm.spec.disks.map(({ target }) => target).join(", ")}`,
  );
  guest.summary.push(["disk added", `${added}, ${(sectors * 512) / 1024 ** 2} MiB`]);
}

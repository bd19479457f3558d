/**
 * A lab's host whose libvirtd has CPU cgroups: a cgroup of its own in this machine's hierarchy, seen as the root of a
 * cgroup namespace, so that what libvirt makes below is found and removed. Needs cgroup v1's CPU controller, as a
 * machine with the hybrid hierarchy has it (cgroup_namespaces(7), libvirt 9.0 virCgroupNewMachineManual).
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, rmdir } from "node:fs/promises";
import path from "node:path";
import type { LabHost } from "@innkeeper/lab/host.ts";

const controllerFolder = "/sys/fs/cgroup/cpu";

/** Why it can't be had on this machine; false if it can. */
export function cgroupSkip(): string | false {
  if (existsSync(path.join(controllerFolder, "cpu.shares"))) return false;
  return `this machine has no CPU controller of cgroup v1 at ${controllerFolder}`;
}

/** Restarts the host's libvirtd in the cgroup. Dispose after the lab is down. */
export async function withCpuCgroup(host: LabHost, name: string): Promise<AsyncDisposable> {
  const folder = path.join(controllerFolder, name);
  await mkdir(folder);
  await host.killLibvirtd();
  const settings = "sed -i 's/^cgroup_controllers.*/cgroup_controllers = [\"cpu\"]/' /etc/libvirt/qemu.conf";
  // The hierarchy as a whole, to enter the cgroup; then its part as the new namespace sees it.
  const enter = `mkdir -p /run/cgroup && mount -t cgroup -o cpu none /run/cgroup && echo $$ > /run/cgroup/${name}/cgroup.procs && umount /run/cgroup`;
  const inside = `mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/cpu && mount -t cgroup -o cpu none /sys/fs/cgroup/cpu && exec libvirtd --daemon --listen --pid-file /run/libvirtd.pid`;
  await host.exec(["sh", "-c", `${settings} && ${enter} && exec unshare --cgroup sh -c '${inside}'`], {
    timeoutMs: 60_000,
  });
  await host.exec(["virsh", "--connect", "qemu:///system", "uri"], { timeoutMs: 60_000 });
  return { [Symbol.asyncDispose]: () => removeCgroup(folder) };
}

/** Children first; their processes have ended with the lab. */
async function removeCgroup(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeCgroup(path.join(folder, entry.name));
  }
  await rmdir(folder);
}

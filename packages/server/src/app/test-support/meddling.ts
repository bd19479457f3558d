/**
 * What an administrator may do with virsh at any moment, behind the back of a task: shell scripts that run on every host.
 * They leave alone what is named canary, by which it is seen that nobody else harms it either.
 */
import type { Lab } from "@innkeeper/lab/lab.ts";

export interface Meddling {
  readonly title: string;
  /** POSIX sh; what fails in it is no matter. */
  readonly script: string;
  /** Brings back what the task could not know to be gone. */
  readonly restore?: string;
}

const eachDomain = (work: string): string =>
  `for d in $(virsh -q list --all --name | grep -v '^canary$'); do ${work}; done`;
const isUp = "virsh -q domstate $d | grep -Eq 'running|paused'";

/** Every domain but the canary: gone, as after a typing mistake or a tidying script. */
const removeDomains = eachDomain(
  "virsh -q destroy $d; virsh -q undefine $d --managed-save --nvram --snapshots-metadata --checkpoints-metadata",
);

export const vmMeddlings: readonly Meddling[] = [
  { title: "given a title", script: eachDomain("virsh desc $d --config --title --new-desc meddled") },
  { title: "removed", script: removeDomains },
  { title: "switched off or on", script: eachDomain(`if ${isUp}; then virsh destroy $d; else virsh start $d; fi`) },
  {
    title: "given another overlay",
    script: eachDomain("virsh snapshot-create-as $d byhand --disk-only --no-metadata"),
  },
  { title: "paused", script: eachDomain("virsh suspend $d") },
  { title: "robbed of its pool", script: "virsh pool-destroy shared", restore: "virsh pool-start shared" },
  { title: "robbed of its network", script: "virsh net-destroy default", restore: "virsh net-start default" },
  {
    title: "robbed of its disk",
    script: eachDomain("virsh vol-delete $(virsh -q domblklist $d | awk '$1 == \"vda\" { print $2 }')"),
  },
];

/** On what host-scenario.ts makes: pool cp, network cn, volume cv.raw, image ci. */
export const hostMeddlings: readonly Meddling[] = [
  {
    title: "removed",
    script: `virsh net-destroy cn; virsh net-undefine cn; virsh pool-destroy cp; virsh pool-undefine cp
      virsh vol-delete --pool local cv.raw; virsh vol-delete --pool local ci.img`,
  },
  {
    title: "made by someone else",
    script: `virsh net-destroy cn; virsh net-undefine cn; virsh pool-destroy cp; virsh pool-undefine cp
      virsh vol-delete --pool local cv.raw; virsh vol-delete --pool local ci.img
      echo "<network><name>cn</name><bridge name='virbr77'/></network>" > /run/cn.xml
      virsh net-define /run/cn.xml; virsh pool-define-as cp dir --target /var/lib/libvirt/cp
      mkdir -p /var/lib/libvirt/cp; virsh pool-start cp
      echo precious > /var/lib/libvirt/images/cv.raw`,
  },
  {
    title: "stopped",
    script: "virsh net-destroy cn; virsh pool-destroy cp; virsh pool-destroy local",
    restore: "virsh pool-start local",
  },
];

export async function meddle(lab: Lab, script: string): Promise<void> {
  const everywhere = lab.hosts.map((host) => host.exec(["sh", "-c", `{ :; ${script}\n} >/dev/null 2>&1; true`]));
  await Promise.all(everywhere);
}

const domainXml = `<domain type='qemu'><name>canary</name><description>untouched</description><memory unit='MiB'>32</memory>
  <vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`;
const networkXml = "<network><name>canary</name><bridge name='virbr99'/></network>";
const folder = "/var/lib/libvirt/canary";

/** Things of others beside those of the tasks: a domain, a network, a pool, and volumes in the pools that tasks use. */
export async function placeCanaries(lab: Lab): Promise<void> {
  for (const host of lab.hosts) {
    await host.exec(["sh", "-c", "cat > /run/canary.xml && virsh define /run/canary.xml"], { input: domainXml });
    await host.exec(["sh", "-c", "cat > /run/canary.xml && virsh net-define /run/canary.xml"], { input: networkXml });
    await host.exec(["virsh", "net-start", "canary"]);
    await host.exec(["virsh", "pool-create-as", "canary", "dir", "--target", folder, "--build"]);
    for (const file of canaryFiles(lab)) await host.exec(["sh", "-c", `echo precious > ${file}`]);
  }
}

/** The same text as long as nobody touched them. */
export async function canaryState(lab: Lab): Promise<string> {
  const look = `virsh dumpxml canary; virsh net-dumpxml canary; virsh pool-info canary; cat ${canaryFiles(lab).join(" ")}`;
  const seen = await Promise.all(lab.hosts.map((host) => host.exec(["sh", "-c", look])));
  return seen
    .map(({ stdout }) => stdout)
    .join("\n")
    .replaceAll(/^(Capacity|Allocation|Available):.*$/gm, "");
}

export function canaryFiles(lab: Lab): string[] {
  return [folder, "/var/lib/libvirt/images", lab.sharedFolder].map((each) => `${each}/canary.img`);
}

/** Removes whatever tasks and meddlers left, without Innkeeper's help: the next case begins anew. */
export async function sweep(lab: Lab): Promise<void> {
  const keep = "! -name canary.img ! -name guest.qcow2";
  await meddle(
    lab,
    `${removeDomains}
    find ${lab.sharedFolder} /var/lib/libvirt/images /var/lib/libvirt/qemu/nvram -type f ${keep} -delete
    virsh net-destroy cn; virsh net-undefine cn; virsh pool-destroy cp; virsh pool-undefine cp
    virsh net-start default; virsh pool-start local; virsh pool-start shared
    virsh pool-refresh local; virsh pool-refresh shared`,
  );
}

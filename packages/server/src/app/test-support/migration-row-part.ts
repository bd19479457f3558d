/** What the rows of the pre-flight are made of: pieces of XML, lines for a host's shell, situations. */
import path from "node:path";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { onHost, pretend, type Scene, type Undo } from "./migration-row.ts";

export const mac = "52:54:00:0a:0b:0c";
export const otherUuid = "11111111-2222-4333-8444-555555555555";
export const secretUuid = "aaaaaaaa-2222-4333-8444-555555555555";
export const nic = (type: string, source: string): string =>
  `<interface type='${type}'><mac address='${mac}'/><source ${source}/><model type='virtio'/></interface>`;
export const disk = (file: string, more = "", format = "qcow2", device = "disk", driver = ""): string =>
  `<disk type='file' device='${device}'><driver name='qemu' type='${format}' ${driver}/><source file='${file}'/><target dev='${device === "disk" ? "vda" : "sda"}' bus='${device === "disk" ? "virtio" : "sata"}'/>${more}</disk>`;
export const onLab = (): string => nic("network", "network='lab'");
export const local = "/var/lib/libvirt/images/row.qcow2";
export const shared = ({ lab }: Scene): string => path.join(lab.sharedFolder, "row.qcow2");
const refreshLocal = async ({ plane }: Scene): Promise<void> => {
  for (const { id } of plane.inventory.list("host")) {
    await plane.deps.hostSync.syncPool(id, "local", { signal: AbortSignal.timeout(60_000) });
  }
};
export const makeImage = (file: string) => `qemu-img create -q -f qcow2 ${file} 16M`;
export const localImage =
  (hosts: readonly ("h1" | "h2")[]) =>
  async (scene: Scene): Promise<Undo> => {
    for (const name of hosts) await scene[name].exec(["sh", "-c", makeImage(local)]);
    await refreshLocal(scene);
    return async () => {
      for (const name of hosts) await scene[name].exec(["rm", "-f", local]);
      await refreshLocal(scene);
    };
  };
export const virsh = (line: string): string => `virsh -q ${line}`;
export const define = (kind: string, xml: string): string =>
  `printf '%s' "${xml.replaceAll('"', "'")}" | virsh -q ${kind} /dev/stdin`;
export const portRule = "INPUT --protocol tcp --dport 49152:49215 --jump DROP";
export const totalMiB = ({ plane }: Scene): number => plane.host("h1").hardware?.memoryMiB ?? 0;

/** A second way to h2's libvirt, which asks for a name and a password. */
export const loginUri = ({ h2 }: Scene): string => `qemu+tcp://${h2.address}/system`;

/** To be done before the control plane connects: libvirtd restarts. Over TCP it takes only mechanisms that encrypt. */
export async function demandLogin(host: LabHost): Promise<void> {
  const user = "saslpasswd2 -p -c -a libvirt -f /etc/libvirt/passwd.db keeper";
  const make = [
    // Of two lines for a setting libvirt takes the first.
    "sed -i -e /^listen_tcp/d -e /^auth_tcp/d /etc/libvirt/libvirtd.conf",
    `printf 'listen_tcp = 1\\nauth_tcp = "sasl"\\n' >> /etc/libvirt/libvirtd.conf`,
    "mkdir -p /etc/sasl2",
    "printf 'mech_list: digest-md5\\nsasldb_path: /etc/libvirt/passwd.db\\n' > /etc/sasl2/libvirt.conf",
    `printf s3cret | ${user}`,
  ];
  await host.exec(["sh", "-c", make.join(" && ")]);
  await host.killLibvirtd();
  await host.startLibvirtd();
}

/** What the remedy of the finding says. */
export function giveLogin({ h1, h2 }: Scene): Promise<Undo> {
  const lines = [
    "[credentials-h2]",
    "authname=keeper",
    "password=s3cret",
    `[auth-libvirt-${h2.address}]`,
    "credentials=h2",
  ];
  return onHost(h1, `printf '%s\\n' '${lines.join("' '")}' > /etc/libvirt/auth.conf`, "rm /etc/libvirt/auth.conf");
}

export const graphics = (attributes: string, address: string): string =>
  `<graphics type='vnc' ${attributes}><listen type='address' address='${address}'/></graphics>`;
export const encryptedDisk = (scene: Scene): string =>
  disk(shared(scene), `<encryption format='luks'><secret type='passphrase' uuid='${secretUuid}'/></encryption>`);
export const defineSecret = define(
  "secret-define",
  `<secret ephemeral='no' private='yes'><uuid>${secretUuid}</uuid></secret>`,
);
export const undefineSecret = virsh(`secret-undefine ${secretUuid}`);
export const hideCertificates = ({ h2 }: Scene): Promise<Undo> =>
  onHost(h2, "mv /etc/pki/qemu /etc/pki/qemu.kept", "mv /etc/pki/qemu.kept /etc/pki/qemu");

/** A pool at the same path on both hosts. */
export async function poolOfSize({ h1, h2, plane }: Scene, sizesMiB: readonly [h1: number, h2: number]): Promise<Undo> {
  const folder = "/var/lib/libvirt/small";
  const sync = async (): Promise<void> => {
    for (const { id } of plane.inventory.list("host")) {
      await plane.deps.hostSync.syncPool(id, "small", { signal: AbortSignal.timeout(60_000) });
    }
  };
  for (const [index, host] of [h1, h2].entries()) {
    const mount = `mkdir -p ${folder} && mount -t tmpfs -o size=${sizesMiB[index]}m tmpfs ${folder}`;
    const start = `${virsh(`pool-define-as small dir --target ${folder}`)} && ${virsh("pool-start small")}`;
    await host.exec(["sh", "-c", `${mount} && ${start}`]);
  }
  await h1.exec(["sh", "-c", `for each in row other; do head -c 8M /dev/zero > ${folder}/$each.raw; done`]);
  await sync();
  return async () => {
    for (const host of [h1, h2]) {
      const stop = `${virsh("pool-destroy small")}; ${virsh("pool-undefine small")}`;
      await host.exec(["sh", "-c", `${stop}; umount ${folder}`]);
    }
    await sync();
  };
}

export function pretendHardware(scene: Scene, change: object): Promise<Undo> {
  return pretend(scene, "h2", ({ hardware }) =>
    hardware === undefined ? {} : { hardware: { ...hardware, ...change } },
  );
}

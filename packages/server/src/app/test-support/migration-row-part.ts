/** What the rows of the pre-flight are made of: pieces of XML, lines for a host's shell, situations. */
import path from "node:path";
import { pretend, type Scene, type Undo } from "./migration-row.ts";

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
export const refreshLocal = async ({ plane }: Scene): Promise<void> => {
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

export function pretendHardware(scene: Scene, change: object): Promise<Undo> {
  return pretend(scene, "h2", ({ hardware }) =>
    hardware === undefined ? {} : { hardware: { ...hardware, ...change } },
  );
}

/** A row of the table of virsh's commands (virsh-table.ts), and what rows share. */
import type { Connection } from "@innkeeper/libvirt";
import type { Remote } from "./compared-call.ts";

type Told = string | Readonly<Record<string, unknown>> | readonly (readonly unknown[])[];

export interface VirshRow {
  readonly procedure: string;
  /** Words of virsh's command line; `FOLDER` is where `virshFiles` are. */
  readonly command: string;
  readonly told: (remote: Remote, connection: Connection) => Promise<Told>;
  readonly columns?: readonly number[];
  readonly drifts?: true;
  /** virsh's command lines that come first. */
  readonly before?: readonly string[];
}

/** The one whose disk, snapshots and jobs virsh shows. */
export const disk = "/var/lib/libvirt/images/viewed";
export const yes = (is: number): string => (is === 0 ? "no" : "yes");
export const row = (
  procedure: string,
  command: string,
  told: VirshRow["told"],
  rest: Pick<VirshRow, "columns" | "drifts" | "before"> = {},
): VirshRow => ({ procedure, command, told, ...rest });

export const cpuXml = '<cpu match="exact"><model fallback="forbid">qemu64</model></cpu>';
export const viewedXml = `<domain type='qemu'><name>viewed</name>
  <uuid>00000000-0000-4000-8000-000000000009</uuid><memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}.qcow2'/>
  <target dev='vda' bus='virtio'/></disk><serial type='pty'/></devices></domain>`;

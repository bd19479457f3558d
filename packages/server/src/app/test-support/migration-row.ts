/** One reason for which a VM can't move, or should not, made on real hosts: how it comes about, and what must be said of it. */
import { randomUUID } from "node:crypto";
import type { LabHost } from "@innkeeper/lab/host.ts";
import type { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type {
  FindingSeverity,
  HostMigrationReport,
  MigrationCheckName,
} from "@innkeeper/contract/resource/migration.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { examineMigration } from "#management/vm/migration-examination.ts";
import type { MoveRequest } from "#management/vm/migration-fact.ts";
import type { ControlPlane } from "./control-plane.ts";

export interface Scene {
  readonly lab: Lab;
  readonly plane: ControlPlane;
  readonly h1: LabHost;
  readonly h2: LabHost;
}

export interface MigrationRow {
  readonly check: MigrationCheckName;
  readonly severity: FindingSeverity;
  readonly what: string;
  readonly words: RegExp;
  readonly remedy?: RegExp;
  /** It runs; default: it is off. */
  readonly live?: true;
  /** It runs and is not defined. */
  readonly transient?: true;
  /** Parts of the domain's XML. */
  readonly memoryMiB?: number | ((scene: Scene) => number);
  readonly vcpus?: string;
  readonly os?: string;
  readonly parts?: string;
  readonly emulator?: string;
  readonly devices?: (scene: Scene) => string;
  readonly request?: MoveRequest;
  /** The situation besides; before the guest is defined, and, with the guest, after it runs. Returns how to undo it. */
  before?(scene: Scene): Promise<Undo>;
  after?(scene: Scene, vm: Vm): Promise<Undo>;
}
export type Undo = () => Promise<unknown>;

const removeMs = 180_000;
const call = { signal: AbortSignal.timeout(900_000) };

/** Makes the situation, examines the move to h2, and takes the situation away. */
export async function examineRow(scene: Scene, row: MigrationRow): Promise<HostMigrationReport> {
  const undo: Undo[] = [];
  try {
    if (row.before !== undefined) undo.unshift(await row.before(scene));
    const uuid = randomUUID();
    undo.unshift(() => removeRow(scene, uuid));
    const vm = await defineRow(scene, row, uuid);
    if (row.after !== undefined) undo.unshift(await row.after(scene, vm));
    const request = { host: "h2", ...row.request };
    const { hosts } = await examineMigration(scene.plane.deps, vm.id, request, call);
    const [report] = hosts;
    if (report === undefined) throw new Error("there is no report");
    return report;
  } finally {
    for (const each of undo) await each();
  }
}

async function defineRow(scene: Scene, row: MigrationRow, uuid: string): Promise<Vm> {
  const { plane, h1 } = scene;
  const { memoryMiB = 64 } = row;
  const sized = { ...row, memoryMiB: typeof memoryMiB === "number" ? memoryMiB : memoryMiB(scene) };
  const xml = domainXml(uuid, sized, row.devices?.(scene) ?? "");
  const verb = row.transient === true ? "create" : "define";
  await h1.exec(["sh", "-c", `cat > /run/row.xml && virsh -q ${verb} /run/row.xml`], { input: xml });
  if (row.live === true) await h1.exec(["virsh", "-q", "start", "row"]);
  const vm = await plane.deps.hostSync.syncVm(plane.host("h1").id, uuid, call);
  if (vm === undefined) throw new Error("the guest is not there");
  return vm;
}

/** A job that its host gives up only after some time keeps the definition. */
async function removeRow({ plane, h1 }: Scene, uuid: string): Promise<void> {
  await h1.exec(["virsh", "-q", "destroy", uuid]).catch(() => undefined);
  const everything = ["--managed-save", "--nvram", "--snapshots-metadata", "--checkpoints-metadata"];
  const isGone = async (): Promise<boolean> => {
    await h1.exec(["virsh", "-q", "undefine", uuid, ...everything], { timeoutMs: removeMs }).catch(() => undefined);
    return !(await h1.exec(["virsh", "-q", "list", "--all", "--uuid"])).stdout.includes(uuid);
  };
  await waitFor("the end of the row's guest", async () => (await isGone()) || undefined, { timeoutMs: removeMs });
  await plane.deps.hostSync.syncVm(plane.host("h1").id, uuid, call);
}

type Parts = Partial<Pick<MigrationRow, "vcpus" | "parts" | "os" | "emulator">> & { readonly memoryMiB?: number };

export function domainXml(uuid: string, row: Parts, devices: string): string {
  const { memoryMiB = 64, vcpus = "<vcpu>1</vcpu>", parts = "", os = "", emulator } = row;
  return `<domain type='qemu'><name>row</name><uuid>${uuid}</uuid><memory unit='MiB'>${memoryMiB}</memory>${vcpus}
    <os${os.startsWith("@") ? " firmware='efi'" : ""}><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>${os.replace("@", "")}</os>
    <features><acpi/></features>${parts}<devices>${emulator === undefined ? "" : `<emulator>${emulator}</emulator>`}${devices}</devices></domain>`;
}

/** A host's document as if the host were another one: for what one machine's software can't differ in. */
export async function pretend(
  { plane }: Scene,
  hostName: string,
  change: (host: Host) => Partial<Host>,
): Promise<Undo> {
  const { revision: _, ...before } = plane.host(hostName);
  const put = (document: typeof before): Promise<unknown> =>
    plane.store.transaction((transaction) => transaction.put("host", document));
  await put({ ...before, ...change(plane.host(hostName)) });
  return () => put(before);
}

/** Runs it now, and the other line when the situation is taken away. */
export async function onHost(host: LabHost, now: string, later: string): Promise<Undo> {
  await host.exec(["sh", "-c", now]);
  return () => host.exec(["sh", "-c", later]);
}

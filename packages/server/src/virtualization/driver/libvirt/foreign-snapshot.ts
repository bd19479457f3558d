/**
 * Snapshots in libvirt's own keeping, which virsh, virt-manager or Cockpit made: read as they are, reverted to and
 * deleted by libvirt alone, since it knows what they hold. What a version of libvirt can't do with one (9.0: revert to an
 * external one; before 9.0: delete one) it refuses before it touches anything. Facts: libvirt 9.0 docs/formatsnapshot.rst.
 */
import {
  type CallOptions,
  type Connection,
  type NonnullDomain,
  type NonnullDomainSnapshot,
  VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN,
  VIR_DOMAIN_SNAPSHOT_REVERT_FORCE,
} from "@innkeeper/libvirt";
import { goneIsUndefined, isLibvirtCode } from "#libvirt/error.ts";
import { readXml, type ReadElement } from "#libvirt/read-xml.ts";
import type { ForeignSnapshot } from "#virtualization/port.ts";
import { type DomainCall, untimed } from "./driver-context.ts";
import { readDisks } from "./domain-xml/disk.ts";
import { attribute, child, children, text, wholeNumber } from "./domain-xml/element.ts";

type Remote = Connection["remote"];

/** Oldest first. Empty also where the driver knows no snapshots. */
export async function readForeignSnapshots(
  remote: Remote,
  dom: NonnullDomain,
  options: CallOptions,
): Promise<ForeignSnapshot[]> {
  try {
    const { num } = await remote.domainSnapshotNum({ dom }, options);
    if (num === 0) return [];
    const { snapshots } = await remote.domainListAllSnapshots({ dom, needResults: 1 }, options);
    const current = await currentName(remote, dom, options);
    const read = await Promise.all(
      snapshots.map(async (snap) => {
        const xml = await remote.domainSnapshotGetXmlDesc({ snap }, options).catch(goneIsUndefined);
        return xml && readSnapshot(readXml(xml.xml), current);
      }),
    );
    return read
      .filter((snapshot) => snapshot !== undefined)
      .toSorted((left, right) => left.createdAt.localeCompare(right.createdAt));
  } catch (error) {
    if (isLibvirtCode(error, "VIR_ERR_NO_SUPPORT")) return [];
    throw error;
  }
}

async function currentName(remote: Remote, dom: NonnullDomain, options: CallOptions): Promise<string | undefined> {
  return (await remote.domainSnapshotCurrent({ dom }, options).catch(goneIsUndefined))?.snap.name;
}

function readSnapshot(root: ReadElement, current: string | undefined): ForeignSnapshot {
  const name = text(child(root, "name")) ?? "";
  const parentName = text(child(root, "parent/name"));
  const memory = child(root, "memory");
  const memoryKind = attribute(memory, "snapshot");
  const memoryPath = attribute(memory, "file");
  const state = text(child(root, "state"));
  const taken = new Map(
    children(child(root, "disks"), "disk").map((disk) => [attribute(disk, "name"), attribute(disk, "snapshot")]),
  );
  // The disks as they were then: of an external snapshot, the layers that it froze.
  const before = readDisks(child(root, "domain") ?? root);
  const disks = before.flatMap(({ target, source, format }) => {
    const kind = taken.get(target) ?? (source === undefined ? undefined : taken.get(source));
    if (source === undefined || (kind !== "internal" && kind !== "external")) return [];
    return [{ target, path: source, format: format ?? "raw" }];
  });
  return {
    name,
    description: text(child(root, "description")) ?? "",
    ...(parentName !== undefined && { parentName }),
    current: name === current,
    // Of a snapshot of disks alone libvirt says "disk-snapshot": what it goes back to is off.
    vmState: state === "running" || state === "paused" ? state : "shutoff",
    withMemory: memoryKind === "internal" || memoryKind === "external",
    ...(memoryPath !== undefined && { memoryPath }),
    external: memoryKind === "external" || [...taken.values()].includes("external"),
    disks,
    createdAt: new Date((wholeNumber(text(child(root, "creationTime"))) ?? 0) * 1000).toISOString(),
  };
}

/** The guest is then as the snapshot says: off, paused or running. */
export async function revertForeignSnapshot(domain: DomainCall, name: string): Promise<void> {
  const { remote, options } = domain;
  const snap = await lookup(domain, name);
  const revert = (flags: number) => remote.domainRevertToSnapshot({ snap, flags }, untimed(options));
  await revert(0).catch(async (error: unknown) => {
    // libvirt asks back where the running QEMU has to be ended first: whoever reverts has given its state up.
    if (!isLibvirtCode(error, "VIR_ERR_SNAPSHOT_REVERT_RISKY")) throw error;
    await revert(VIR_DOMAIN_SNAPSHOT_REVERT_FORCE);
  });
}

/** Idempotent: gone is fine. */
export async function deleteForeignSnapshot(domain: DomainCall, name: string, withChildren: boolean): Promise<void> {
  const { remote, options } = domain;
  const snap = await lookup(domain, name).catch(goneIsUndefined);
  if (snap === undefined) return;
  const flags = withChildren ? VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN : 0;
  await remote.domainSnapshotDelete({ snap, flags }, untimed(options)).catch(goneIsUndefined);
}

async function lookup({ remote, dom, options }: DomainCall, name: string): Promise<NonnullDomainSnapshot> {
  return (await remote.domainSnapshotLookupByName({ dom, name }, options)).snap;
}

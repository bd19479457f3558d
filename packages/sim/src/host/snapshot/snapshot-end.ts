// Going back to snapshots, and deleting them (libvirt 9.0 src/qemu/qemu_snapshot.c qemuSnapshotRevert and
// qemuSnapshotDelete). Events come in libvirt's order.
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN,
  VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY,
  VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY,
  VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED,
  VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING,
} from "@innkeeper/libvirt/generated/domain-snapshot-constant.ts";
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_OPERATION_UNSUPPORTED,
  VIR_ERR_SNAPSHOT_REVERT_RISKY,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { TextDocument } from "#host/domain/document.ts";
import { begin, emit, occupy, operationInvalid, stop } from "#host/domain/lifecycle.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import { commitInto, layersBelow, relink } from "#host/file/disk-layers.ts";
import { SimFile } from "#host/file/file.ts";
import { parse } from "#xml/parse.ts";
import { switchDisk } from "./disk-source.ts";
import type { Snapshot, SnapshotDisk } from "./snapshot-definition.ts";
import type { Snapshots } from "./snapshots.ts";

const isExternal = ({ disks, memory }: Snapshot): boolean =>
  memory?.location === "external" || disks.some((disk) => disk.location === "external");

export function revert(snapshots: Snapshots, domain: SimDomain, snapshot: Snapshot, flags: number): void {
  const wants = flags & (VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING | VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED);
  const isRunningAfter = snapshot.state === "running" || snapshot.state === "paused";
  if (!domain.isPersistent && !isRunningAfter && wants === 0)
    throw operationInvalid("transient domain needs to request run or pause to revert to inactive snapshot");
  if (isExternal(snapshot))
    throw new SimError(VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_QEMU, "revert to external snapshot not supported yet");
  const definition = snapshot.inactive ?? snapshot.domain;
  if (definition === undefined) {
    const detail = `snapshot '${snapshot.name}' lacks domain '${domain.name}' rollback info`;
    throw new SimError(VIR_ERR_SNAPSHOT_REVERT_RISKY, VIR_FROM_QEMU, detail);
  }
  const { domains } = snapshots;
  if (domain.isActive)
    stop(domains, domain, lv.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT, lv.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT);
  restoreDisks(snapshots, domain, snapshot);
  domain.config = new TextDocument(parse(definition));
  if (isRunningAfter || wants !== 0) {
    const isPaused = isRunningAfter
      ? snapshot.state === "paused" && (wants & VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING) === 0
      : false;
    run(snapshots, domain, snapshot, isPaused || (wants & VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED) !== 0);
  } else domain.setState(lv.VIR_DOMAIN_SHUTOFF, lv.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT);
  if (domain.isPersistent)
    emit(domains, domain, lv.VIR_DOMAIN_EVENT_DEFINED, lv.VIR_DOMAIN_EVENT_DEFINED_FROM_SNAPSHOT);
  snapshots.treeOf(domain).current = snapshot;
}

/** One whose memory was saved goes on from there; another boots. */
function run(snapshots: Snapshots, domain: SimDomain, snapshot: Snapshot, isPaused: boolean): void {
  const { domains } = snapshots;
  const event = lv.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT;
  if (snapshot.state === "shutoff") {
    begin(domains, domain, { isPaused, event, reason: lv.VIR_DOMAIN_RUNNING_FROM_SNAPSHOT });
    return;
  }
  occupy(domains, domain);
  if (domain.run !== null && snapshot.inactive !== undefined && snapshot.domain !== undefined)
    domain.run.document = new TextDocument(parse(snapshot.domain));
  domain.setState(lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT);
  domain.resetCounters(snapshots.cpuSecondsOf(snapshot));
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_STARTED, event);
  if (isPaused)
    return emit(domains, domain, lv.VIR_DOMAIN_EVENT_SUSPENDED, lv.VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT);
  domain.setState(lv.VIR_DOMAIN_RUNNING, lv.VIR_DOMAIN_RUNNING_FROM_SNAPSHOT);
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_RESUMED, lv.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT);
}

function restoreDisks({ files, domains }: Snapshots, domain: SimDomain, { name, disks }: Snapshot): void {
  const nowMs = domains.context.clock.nowMs();
  for (const { target, location } of disks) {
    const source = domain.config.facts().disks.find((disk) => disk.target === target)?.source;
    const file = source === undefined ? undefined : files.find(source);
    if (location === "internal" && file instanceof SimFile) file.restoreState(name, nowMs);
  }
}

export function deleteSnapshot(snapshots: Snapshots, domain: SimDomain, snapshot: Snapshot, flags: number): void {
  const tree = snapshots.treeOf(domain);
  const withChildren = (flags & (VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN | VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY)) !== 0;
  const isMetadataOnly = (flags & VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY) !== 0;
  const children = withChildren ? tree.descendants(snapshot) : [];
  if (!isMetadataOnly && children.some(isExternal)) {
    const detail = "deletion of external children disk snapshots not supported";
    throw new SimError(VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_QEMU, detail);
  }
  const parent = tree.parentOf(snapshot);
  if (!isMetadataOnly && isExternal(snapshot) && parent !== undefined && !isExternal(parent)) {
    const detail = "deleting external snapshot that has internal snapshot as parent not supported";
    throw new SimError(VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU, detail);
  }
  const isOnlyChildren = (flags & VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY) !== 0;
  const doomed = [...children.toReversed(), ...(isOnlyChildren ? [] : [snapshot])];
  for (const each of doomed) {
    if (!isMetadataOnly) for (const disk of each.disks) deleteDisk(snapshots, domain, each, disk);
    tree.remove(each);
  }
  domain.snapshotCount = tree.size;
}

function deleteDisk(snapshots: Snapshots, domain: SimDomain, { name }: Snapshot, disk: SnapshotDisk): void {
  const { files, domains } = snapshots;
  const source = domain.facts.disks.find(({ target }) => target === disk.target)?.source;
  if (source === undefined) return;
  const nowMs = domains.context.clock.nowMs();
  if (disk.location === "internal") {
    const file = files.find(source);
    if (file instanceof SimFile) file.dropState(name);
  }
  const layer = disk.file;
  if (disk.location !== "external" || layer === undefined) return;
  const chain = [source, ...layersBelow(files, source).map(({ path }) => path)];
  const base = layersBelow(files, layer)[0];
  const at = chain.indexOf(layer);
  if (base === undefined || at === -1) return;
  commitInto(files, layer, base.path, nowMs);
  const above = chain[at - 1];
  if (above === undefined) switchDisk(domain, disk.target, layer, base);
  else relink(files, above, base, nowMs);
  files.remove(layer);
}

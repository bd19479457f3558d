// What a client wants of a new snapshot, and a snapshot as XML (libvirt 9.0 src/conf/snapshot_conf.c: parse, align with
// the domain's disks, format).
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_OPERATION_FAILED,
  VIR_ERR_XML_ERROR,
  VIR_FROM_DOMAIN_SNAPSHOT,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { sourceOf } from "#host/domain/facts.ts";
import { parseDocument } from "#xml/document.ts";
import { attributeOf, element, type Element, elements, find, format, leaf, textOf } from "#xml/element.ts";

export type Location = "no" | "internal" | "external";
export type SnapshotState = "running" | "paused" | "shutoff" | "disk-snapshot";

export interface SnapshotDisk {
  readonly target: string;
  readonly location: Location;
  /** Of an external snapshot: the new layer. */
  readonly file?: string;
  readonly isBlock?: boolean;
  readonly format?: string;
}

/** A disk of the domain, as far as snapshots mind. */
export interface DomainDisk {
  readonly target: string;
  readonly source: string | undefined;
  readonly format: string;
  readonly isSkipped: boolean;
}

export interface Snapshot {
  readonly name: string;
  readonly description: string | undefined;
  readonly state: SnapshotState;
  parentName: string | undefined;
  readonly createdS: number;
  readonly memory: { readonly location: Location; readonly file?: string } | undefined;
  readonly disks: readonly SnapshotDisk[];
  /** The domain at that time, as a definition. */
  readonly domain: string | undefined;
  /** Of a running one, what its next start would have used. */
  readonly inactive: string | undefined;
}

export interface Request {
  readonly name: string | undefined;
  readonly description: string | undefined;
  readonly memory: { readonly location: Location; readonly file?: string } | undefined;
  readonly disks: readonly (Omit<SnapshotDisk, "location"> & { readonly location: Location | undefined })[];
  readonly root: Element;
}

export function snapshotError(code: number, detail: string): SimError {
  return new SimError(code, VIR_FROM_DOMAIN_SNAPSHOT, detail);
}

/** @param isOffline no memory can be saved. */
export function parseSnapshot(xml: string, isOffline: boolean): Request {
  const root = parseDocument(xml, "(domain_snapshot)", "domainsnapshot");
  const memory = find(root, "memory");
  const file = memory?.attributes.get("file");
  const given = memory?.attributes.get("snapshot");
  const location = locationOf(given, "memory") ?? (file === undefined ? undefined : "external");
  if (file !== undefined && location !== "external")
    throw snapshotError(VIR_ERR_XML_ERROR, `memory filename '${file}' requires external snapshot`);
  if (file === undefined && location === "external")
    throw snapshotError(VIR_ERR_XML_ERROR, "external memory snapshots require a filename");
  if (isOffline && location !== undefined && location !== "no")
    throw snapshotError(VIR_ERR_XML_ERROR, "memory state cannot be saved with offline or disk-only snapshot");
  if (file !== undefined && !file.startsWith("/"))
    throw snapshotError(VIR_ERR_XML_ERROR, `memory snapshot file path (${file}) must be absolute`);
  return {
    name: textOf(root, "name") || undefined,
    description: textOf(root, "description"),
    memory: location === undefined ? undefined : { location, ...(file === undefined ? {} : { file }) },
    disks: elements(find(root, "disks"), "disk").map(parseDisk),
    root,
  };
}

function parseDisk(disk: Element): Request["disks"][number] {
  const target = disk.attributes.get("name");
  if (target === undefined) throw snapshotError(VIR_ERR_XML_ERROR, "missing name from disk snapshot element");
  const file = sourceOf(disk);
  const location = locationOf(disk.attributes.get("snapshot"), "disk") ?? (file === undefined ? undefined : "external");
  const format = attributeOf(disk, "driver", "type");
  return {
    target,
    location,
    isBlock: disk.attributes.get("type") === "block",
    ...(file === undefined ? {} : { file }),
    ...(format === undefined ? {} : { format }),
  };
}

function locationOf(given: string | undefined, where: string): Location | undefined {
  if (given === undefined || given === "no" || given === "internal" || given === "external") return given;
  const detail = `Invalid value for attribute 'snapshot' in element '${where}': '${given}'.`;
  throw snapshotError(VIR_ERR_XML_ERROR, detail);
}

export function domainDisks(domain: Element): DomainDisk[] {
  return elements(find(domain, "devices"), "disk").map((disk) => {
    const source = sourceOf(disk);
    const isReadOnly = find(disk, "readonly") !== undefined || disk.attributes.get("device") === "cdrom";
    return {
      target: attributeOf(disk, "target", "dev") ?? "",
      source,
      format: attributeOf(disk, "driver", "type") ?? "raw",
      isSkipped: source === undefined || isReadOnly || disk.attributes.get("snapshot") === "no",
    };
  });
}

/** What happens to each disk of the domain (virDomainSnapshotAlignDisks). */
export function alignDisks(
  request: Request,
  disks: readonly DomainDisk[],
  { fallback, name }: { readonly fallback: Location; readonly name: string },
): SnapshotDisk[] {
  if (request.disks.length > disks.length)
    throw snapshotError(VIR_ERR_CONFIG_UNSUPPORTED, "too many disk snapshot requests for domain");
  const asked = new Map<string, Request["disks"][number]>();
  for (const each of request.disks) {
    const disk = disks.find(({ target, source }) => target === each.target || source === each.target);
    if (disk === undefined) throw snapshotError(VIR_ERR_CONFIG_UNSUPPORTED, `no disk named '${each.target}'`);
    if (asked.has(disk.target))
      throw snapshotError(VIR_ERR_CONFIG_UNSUPPORTED, `disk '${each.target}' specified twice`);
    if (fallback === "internal" && each.location !== undefined && each.location !== fallback) {
      const detail = `disk '${each.target}' must use snapshot mode '${fallback}'`;
      throw snapshotError(VIR_ERR_CONFIG_UNSUPPORTED, detail);
    }
    if (each.file !== undefined && each.location !== "external") {
      const detail = `file '${each.file}' for disk '${each.target}' requires use of external snapshot mode`;
      throw snapshotError(VIR_ERR_CONFIG_UNSUPPORTED, detail);
    }
    asked.set(disk.target, each);
  }
  return disks.map((disk) => {
    const each = asked.get(disk.target);
    const location = each?.location ?? (disk.isSkipped ? "no" : fallback);
    if (location !== "external") return { target: disk.target, location };
    const file = each?.file ?? layerName(disk, name);
    return { target: disk.target, location, file, format: each?.format ?? "qcow2", isBlock: each?.isBlock === true };
  });
}

/** The disk's own name with the snapshot's in place of its ending (virDomainSnapshotDefAssignExternalNames). */
function layerName({ target, source }: DomainDisk, name: string): string {
  if (source === undefined) {
    const detail = `cannot generate external snapshot name for disk '${target}' without source`;
    throw snapshotError(VIR_ERR_CONFIG_UNSUPPORTED, detail);
  }
  if (source.startsWith("/dev/")) {
    const detail = `cannot generate external snapshot name for disk '${target}': source is not a regular file`;
    throw snapshotError(VIR_ERR_CONFIG_UNSUPPORTED, detail);
  }
  const dot = source.lastIndexOf(".");
  const stem = dot > source.lastIndexOf("/") ? source.slice(0, dot) : source;
  const file = `${stem}.${name}`;
  if (file === source)
    throw snapshotError(VIR_ERR_OPERATION_FAILED, `generated external snapshot name for disk '${target}' collides`);
  return file;
}

export function formatSnapshot(snapshot: Snapshot, parse: (text: string) => Element): string {
  const { name, description, state, parentName, createdS, memory, disks, domain, inactive } = snapshot;
  const root = element("domainsnapshot", {}, [
    leaf("name", name),
    description === undefined ? undefined : leaf("description", description),
    leaf("state", state),
    parentName === undefined ? undefined : element("parent", {}, [leaf("name", parentName)]),
    leaf("creationTime", createdS),
    memory && element("memory", { snapshot: memory.location, file: memory.file }),
    disks.length === 0 ? undefined : element("disks", {}, disks.map(diskElement)),
    domain === undefined ? undefined : parse(domain),
    inactive === undefined ? undefined : { ...parse(inactive), name: "inactiveDomain" },
  ]);
  return format(root);
}

function diskElement({ target, location, file, format: type, isBlock }: SnapshotDisk): Element {
  if (location !== "external" || file === undefined) return element("disk", { name: target, snapshot: location });
  const source = element("source", isBlock === true ? { dev: file } : { file });
  const attributes = { name: target, snapshot: location, type: isBlock === true ? "block" : "file" };
  return element("disk", attributes, [element("driver", { type }), source]);
}

// A storage pool's definition, between libvirt's XML and what of it matters here (libvirt 9.0 src/conf/storage_conf.c
// virStoragePoolDefParseXML, virStoragePoolDefFormat, poolTypeInfo).
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_XML_ERROR,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { sanitizePath } from "#host/file/host-files.ts";
import { normalUuid, parseDocument, requiredEnum } from "#xml/document.ts";
import { attributeOf, element, type Element, elements, find, format, leaf, type Node, textOf } from "#xml/element.ts";
import { storageError } from "./storage-error.ts";

/** In the order of virStoragePoolType. */
export const POOL_TYPES: readonly string[] = [
  "dir",
  "fs",
  "netfs",
  "logical",
  "disk",
  "iscsi",
  "iscsi-direct",
  "scsi",
  "mpath",
  "rbd",
  "sheepdog",
  "gluster",
  "zfs",
  "vstorage",
];

interface TypeOptions {
  readonly host?: true;
  readonly device?: true;
  readonly dir?: true;
  readonly name?: true;
  readonly formats?: readonly string[];
}

const FS_FORMATS = [
  "auto",
  "ext2",
  "ext3",
  "ext4",
  "ufs",
  "iso9660",
  "udf",
  "gfs",
  "gfs2",
  "vfat",
  "hfs+",
  "xfs",
  "ocfs2",
  "vmfs",
];

const OPTIONS: Readonly<Record<string, TypeOptions>> = {
  fs: { device: true, formats: FS_FORMATS },
  netfs: { host: true, dir: true, formats: ["auto", "nfs", "glusterfs", "cifs"] },
  logical: { name: true, device: true, formats: ["lvm2", "unknown"] },
};

/** Of others a simulated host says what a daemon says that was built without them. */
export const BACKENDS: readonly string[] = ["dir", "fs", "netfs", "logical"];

export interface PoolSource {
  readonly hosts: readonly { readonly name: string; readonly port?: string }[];
  readonly devices: readonly string[];
  readonly dir?: string;
  readonly name?: string;
  readonly format?: string;
  readonly protocolVersion?: string;
}

export interface Permissions {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

export interface PoolDefinition {
  readonly type: string;
  readonly name: string;
  readonly uuid: string;
  readonly source: PoolSource;
  readonly targetPath: string;
  readonly permissions: Permissions;
}

export interface PoolSpace {
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly availableBytes: number;
}

/** @param newUuid for one that names none. */
export function parsePool(xml: string, newUuid: () => string): PoolDefinition {
  const root = parseDocument(xml, "(storage_pool_definition)", "pool");
  const type = requiredEnum(root, "type", POOL_TYPES);
  checkBackendType(type);
  const options = OPTIONS[type] ?? {};
  const source = parseSource(find(root, "source"), options);
  const name = textOf(root, "name") || (options.name === true ? source.name : undefined);
  if (name === undefined) throw storageError(VIR_ERR_XML_ERROR, "missing pool source name element");
  if (name.includes("/")) throw storageError(VIR_ERR_XML_ERROR, `name ${name} cannot contain '/'`);
  const givenUuid = textOf(root, "uuid");
  const uuid = givenUuid ? normalUuid(givenUuid) : newUuid();
  if (uuid === undefined) throw storageError(VIR_ERR_XML_ERROR, "malformed uuid element");
  checkSource(source, options);
  const named = options.name === true && source.name === undefined ? { ...source, name } : source;
  return {
    type,
    name,
    uuid,
    source: named,
    targetPath: targetPathOf(root, type, named),
    permissions: parsePermissions(find(root, "target", "permissions")),
  };
}

function checkSource(source: PoolSource, options: TypeOptions): void {
  if (options.host === true && source.hosts.length === 0)
    throw storageError(VIR_ERR_XML_ERROR, "missing storage pool source host name");
  if (options.dir === true && source.dir === undefined)
    throw storageError(VIR_ERR_XML_ERROR, "missing storage pool source path");
  const needsDevice = options.device === true && options.name !== true;
  if (needsDevice && source.devices.length === 0)
    throw storageError(VIR_ERR_XML_ERROR, "missing storage pool source device name");
}

function targetPathOf(root: Element, type: string, source: PoolSource): string {
  if (type === "logical") return `/dev/${source.name ?? ""}`;
  const path = textOf(root, "target", "path");
  if (!path) throw storageError(VIR_ERR_XML_ERROR, "missing storage pool target path");
  return sanitizePath(path);
}

function parseSource(source: Element | undefined, options: TypeOptions): PoolSource {
  const name = textOf(source, "name") || undefined;
  const hosts = elements(source, "host").map((host) => {
    const hostName = host.attributes.get("name");
    if (hostName === undefined) throw storageError(VIR_ERR_XML_ERROR, "missing storage pool host name");
    const port = host.attributes.get("port");
    return port === undefined ? { name: hostName } : { name: hostName, port };
  });
  const devices = elements(source, "device").map((device) => {
    const path = device.attributes.get("path");
    if (path === undefined) throw storageError(VIR_ERR_XML_ERROR, "missing storage pool source device path");
    return path;
  });
  const dir = attributeOf(source, "dir", "path");
  const protocolVersion = attributeOf(source, "protocol", "ver");
  return {
    hosts,
    devices,
    ...(dir === undefined ? {} : { dir: sanitizePath(dir) }),
    ...(name === undefined ? {} : { name }),
    ...(options.formats === undefined ? {} : { format: formatOf(source, options.formats) }),
    ...(protocolVersion === undefined ? {} : { protocolVersion }),
  };
}

function formatOf(source: Element | undefined, formats: readonly string[]): string {
  const given = attributeOf(source, "format", "type");
  if (given === undefined) return formats[0] ?? "";
  if (!formats.includes(given)) throw storageError(VIR_ERR_CONFIG_UNSUPPORTED, `unknown pool format type ${given}`);
  return given;
}

export function parsePermissions(permissions: Element | undefined): Permissions {
  const mode = textOf(permissions, "mode");
  if (mode !== undefined && !/^0?[0-7]{1,3}$/u.test(mode))
    throw storageError(VIR_ERR_XML_ERROR, "malformed octal mode");
  const id = (name: string): number | undefined => {
    const text = textOf(permissions, name);
    if (text === undefined) return undefined;
    if (!/^(?:-1|\d+)$/u.test(text)) throw storageError(VIR_ERR_XML_ERROR, `malformed ${name} element`);
    return text === "-1" ? undefined : Number(text);
  };
  const [uid, gid] = [id("owner"), id("group")];
  return {
    ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  };
}

/** As virStorageBackendForType refuses. */
export function checkBackendType(type: string): void {
  if (BACKENDS.includes(type)) return;
  const detail = `missing backend for pool type ${POOL_TYPES.indexOf(type)} (${type})`;
  throw storageError(VIR_ERR_INTERNAL_ERROR, detail);
}

/** @param permissions of its target, where they are known. */
export function formatPool(pool: PoolDefinition, space: PoolSpace, permissions: Permissions): string {
  const { type, name, uuid, source, targetPath } = pool;
  const bytes = { unit: "bytes" };
  const target = element("target", {}, [leaf("path", targetPath), permissionsElement(permissions)]);
  const root = element("pool", { type }, [
    leaf("name", name),
    leaf("uuid", uuid),
    leaf("capacity", space.capacityBytes, bytes),
    leaf("allocation", space.allocationBytes, bytes),
    leaf("available", space.availableBytes, bytes),
    element("source", {}, sourceElements(source, OPTIONS[type] ?? {})),
    target,
  ]);
  // libvirt writes an empty source in two lines.
  return format(root).replace("  <source/>\n", "  <source>\n  </source>\n");
}

function sourceElements(source: PoolSource, options: TypeOptions): (Node | undefined)[] {
  return [
    ...(options.host === true ? source.hosts.map((host) => element("host", { ...host })) : []),
    ...(options.device === true ? source.devices.map((path) => element("device", { path })) : []),
    options.dir === true && source.dir !== undefined ? element("dir", { path: source.dir }) : undefined,
    options.name === true && source.name !== undefined ? leaf("name", source.name) : undefined,
    source.format === undefined ? undefined : element("format", { type: source.format }),
    source.protocolVersion === undefined ? undefined : element("protocol", { ver: source.protocolVersion }),
  ];
}

export function permissionsElement({ mode, uid, gid }: Permissions): Element | undefined {
  if (mode === undefined && uid === undefined && gid === undefined) return undefined;
  return element("permissions", {}, [
    mode === undefined ? undefined : leaf("mode", `0${mode.toString(8)}`),
    uid === undefined ? undefined : leaf("owner", uid),
    gid === undefined ? undefined : leaf("group", gid),
  ]);
}

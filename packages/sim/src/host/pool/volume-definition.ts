// A volume between libvirt's XML and what of it matters here (libvirt 9.0 src/conf/storage_conf.c
// virStorageVolDefParseXML, virStorageVolDefFormat).
import { VIR_ERR_CONFIG_UNSUPPORTED, VIR_ERR_XML_ERROR } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import type { Owner } from "#host/file/file.ts";
import type { Qcow2 } from "#host/file/qcow2.ts";
import { parseDocument, scaled } from "#xml/document.ts";
import { attributeOf, element, type Element, elements, find, format, leaf, textOf } from "#xml/element.ts";
import { parsePermissions, type Permissions, permissionsElement } from "./pool-definition.ts";
import { storageError } from "./storage-error.ts";

/** virStorageFileFormat's names that a volume may have. */
const FORMATS: readonly string[] = [
  "unknown",
  "raw",
  "dir",
  "bochs",
  "cloop",
  "dmg",
  "iso",
  "vpc",
  "vdi",
  "vhd",
  "ploop",
  "luks",
  "cow",
  "qcow",
  "qcow2",
  "qed",
  "vmdk",
];

export interface VolumeDefinition {
  readonly name: string;
  readonly format: string;
  /** undefined: as that of what it is made from. */
  readonly capacityBytes?: number;
  readonly allocationBytes?: number;
  readonly backing?: { readonly path: string; readonly format: string };
  readonly permissions: Permissions;
  readonly compat?: string;
  readonly lazyRefcounts: boolean;
}

/** `hasFormats`: the pool holds files. `isCopy`: the capacity may be left out. */
export function parseVolume(
  xml: string,
  options: { readonly hasFormats: boolean; readonly isCopy: boolean },
): VolumeDefinition {
  const root = parseDocument(xml, "(storage_volume_definition)", "volume");
  const name = textOf(root, "name");
  if (!name) throw storageError(VIR_ERR_XML_ERROR, "missing volume name element");
  const formatAt = (...path: string[]): string => {
    const value = attributeOf(root, ...path, "type");
    if (!options.hasFormats || value === undefined) return "raw";
    if (!FORMATS.includes(value)) throw storageError(VIR_ERR_CONFIG_UNSUPPORTED, `unknown volume format type ${value}`);
    return value;
  };
  const backingPath = textOf(root, "backingStore", "path") || undefined;
  const backing =
    backingPath === undefined ? undefined : { path: backingPath, format: formatAt("backingStore", "format") };
  const capacityBytes = sizeOf(root, "capacity");
  if (capacityBytes === undefined && !options.isCopy && backing === undefined)
    throw storageError(VIR_ERR_XML_ERROR, "missing capacity element");
  const allocationBytes = sizeOf(root, "allocation");
  const features = elements(find(root, "target", "features"));
  const compat =
    textOf(root, "target", "compat") ?? (find(root, "target", "features") === undefined ? undefined : "1.1");
  if (compat !== undefined && !/^\d+\.\d+$/u.test(compat))
    throw storageError(VIR_ERR_XML_ERROR, "forbidden characters in 'compat' attribute");
  for (const { name: feature } of features) {
    if (feature !== "lazy_refcounts" && feature !== "extended_l2")
      throw storageError(VIR_ERR_CONFIG_UNSUPPORTED, `unsupported feature ${feature}`);
  }
  return {
    name,
    format: formatAt("target", "format"),
    permissions: parsePermissions(find(root, "target", "permissions")),
    lazyRefcounts: features.some((each) => each.name === "lazy_refcounts"),
    ...(capacityBytes === undefined ? {} : { capacityBytes }),
    ...(allocationBytes === undefined ? {} : { allocationBytes }),
    ...(backing === undefined ? {} : { backing }),
    ...(compat === undefined ? {} : { compat }),
  };
}

function sizeOf(root: Element, name: string): number | undefined {
  const text = textOf(root, name);
  if (!text) return undefined;
  if (!/^\s*\+?\d+\s*$/u.test(text)) throw storageError(VIR_ERR_XML_ERROR, "malformed capacity element");
  return scaled(BigInt(text.trim()), attributeOf(root, name, "unit"));
}

/** virStorageVolType, with the name it has in XML. */
export const VOLUME_TYPES = ["file", "block", "dir", "network", "netdir", "ploop"] as const;
export type VolumeType = (typeof VOLUME_TYPES)[number];

export interface VolumeState {
  readonly type: VolumeType;
  readonly name: string;
  readonly key: string;
  readonly path: string;
  /** undefined: the pool's volumes have no formats. */
  readonly format: string | undefined;
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly physicalBytes: number;
  readonly owner: Owner | undefined;
  readonly changedMs: number | undefined;
  /** Known once the pool has been read since it was made. */
  readonly qcow2: Qcow2 | undefined;
  readonly backing:
    | { readonly path: string; readonly format: string; readonly owner?: Owner; readonly changedMs?: number }
    | undefined;
}

export function formatVolume(volume: VolumeState): string {
  const { type, name, key, path, qcow2, backing } = volume;
  const bytes = { unit: "bytes" };
  const features = qcow2 && [
    qcow2.lazyRefcounts ? element("lazy_refcounts") : undefined,
    qcow2.extendedL2 ? element("extended_l2") : undefined,
  ];
  return format(
    element("volume", { type }, [
      leaf("name", name),
      leaf("key", key),
      leaf("capacity", volume.capacityBytes, bytes),
      leaf("allocation", volume.allocationBytes, bytes),
      volume.physicalBytes === 0 ? undefined : leaf("physical", volume.physicalBytes, bytes),
      element("target", {}, [
        leaf("path", path),
        volume.format === undefined ? undefined : element("format", { type: volume.format }),
        volume.owner && permissionsElement(volume.owner),
        timesElement(volume.changedMs),
        qcow2?.compat === "1.1" ? leaf("compat", qcow2.compat) : undefined,
        qcow2 && leaf("clusterSize", qcow2.clusterBytes, { unit: "B" }),
        features && qcow2.compat === "1.1" ? element("features", {}, features) : undefined,
      ]),
      backing &&
        element("backingStore", {}, [
          leaf("path", backing.path),
          element("format", { type: backing.format }),
          backing.owner && permissionsElement(backing.owner),
          timesElement(backing.changedMs),
        ]),
    ]),
  );
}

/** libvirt 9.0 knows no time of birth on Linux. */
function timesElement(changedMs: number | undefined): Element | undefined {
  if (changedMs === undefined) return undefined;
  const time = seconds(changedMs);
  return element("timestamps", {}, [leaf("atime", time), leaf("mtime", time), leaf("ctime", time), leaf("btime", 0)]);
}

/** Whole seconds, and nanoseconds when there are some (virStorageVolTimestampFormat). */
function seconds(timeMs: number): string {
  const whole = Math.floor(timeMs / 1000);
  const rest = Math.round((timeMs - whole * 1000) * 1_000_000);
  return rest === 0 ? String(whole) : `${whole}.${String(rest).padStart(9, "0")}`;
}

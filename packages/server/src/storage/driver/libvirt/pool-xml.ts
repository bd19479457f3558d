/** Storage pools between libvirt's XML (https://libvirt.org/formatstorage.html, libvirt 9.0) and the port. */
import { posix } from "node:path";
import { checkName } from "@innkeeper/contract/name.ts";
import type { StoragePoolCreate } from "@innkeeper/contract/resource/storage-pool.ts";
import { AppError } from "#core/app-error.ts";
import { readXml } from "#libvirt/read-xml.ts";
import { attribute, element, elements, formatXml, text, xml } from "#libvirt/xml.ts";

/** Types whose storage is reached over a network, so that other hosts can reach the very same. */
const networkTypes: ReadonlySet<string> = new Set([
  "netfs",
  "iscsi",
  "iscsi-direct",
  "rbd",
  "gluster",
  "sheepdog",
  "vstorage",
]);

interface PoolXml {
  readonly type: string;
  readonly path: string | undefined;
  readonly source: string | undefined;
  readonly networkStorage: boolean;
}

export function readPoolXml(xmlText: string): PoolXml {
  const root = readXml(xmlText);
  const type = root.getAttribute("type") ?? "unknown";
  return {
    type,
    path: text(root, "target/path"),
    source: describeSource(root),
    networkStorage: networkTypes.has(type),
  };
}

/** `nfs1:/export`, `mon1,mon2:pool`, `/dev/sdb`, `vg0`; what `virsh pool-dumpxml` shows as source, for people. */
function describeSource(root: ReturnType<typeof readXml>): string | undefined {
  const source = element(root, "source");
  if (source === undefined) return undefined;
  const hosts = elements(source, "host").map((host) => attribute(host, ".", "name") ?? "");
  const what =
    attribute(source, "dir", "path") ??
    text(source, "name") ??
    attribute(source, "device", "path") ??
    attribute(source, "adapter", "name") ??
    "";
  const described = hosts.length === 0 ? what : `${hosts.join(",")}:${what}`;
  return described === "" ? undefined : described;
}

type PoolDefinition = Omit<StoragePoolCreate, "host" | "shared" | "autostart"> & { readonly uuid?: string };

/** Places where a pool would hide or endanger the host itself. */
const forbiddenPaths: readonly string[] = ["/", "/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/usr"];

/** XML of a pool to define. invalid_field when a value can't be used. */
export function poolXml(pool: PoolDefinition): string {
  checkPool(pool);
  const { source } = pool;
  return formatXml(
    xml(
      "pool",
      { type: pool.type },
      xml("name", {}, pool.name),
      pool.uuid === undefined ? undefined : xml("uuid", {}, pool.uuid),
      source === undefined
        ? undefined
        : xml(
            "source",
            {},
            xml("host", { name: source.host }),
            xml("dir", { path: source.path }),
            xml("format", { type: source.format ?? "auto" }),
          ),
      xml("target", {}, xml("path", {}, pool.path)),
    ),
  );
}

function checkPool(pool: PoolDefinition): void {
  const wrongName = checkName(pool.name);
  if (wrongName !== undefined) throw new AppError("invalid_field", `name ${wrongName}.`, { field: "name" });
  const normal = posix.normalize(pool.path).replace(/(?<=.)\/$/, "");
  if (normal !== pool.path || !posix.isAbsolute(pool.path)) {
    throw new AppError("invalid_field", `path must be absolute and without . or .. (${JSON.stringify(normal)}).`, {
      field: "path",
    });
  }
  if (forbiddenPaths.some((path) => normal === path || (path !== "/" && normal.startsWith(`${path}/`)))) {
    throw new AppError("invalid_field", `path ${normal} belongs to the host's own system; choose another folder.`, {
      field: "path",
    });
  }
  if (pool.type === "netfs" && pool.source === undefined) {
    throw new AppError("invalid_field", "source is needed for a netfs pool: the server and what it exports.", {
      field: "source",
    });
  }
  if (pool.type === "dir" && pool.source !== undefined) {
    throw new AppError("invalid_field", "source is only for netfs pools.", { field: "source" });
  }
  if (pool.source !== undefined && !/^(?!-)[A-Za-z0-9.:_[\]-]+$/.test(pool.source.host)) {
    throw new AppError("invalid_field", "source.host must be a host name or an address.", { field: "source.host" });
  }
}

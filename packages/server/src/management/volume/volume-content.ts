/**
 * Whether a volume's content may be followed. A guest that has a raw disk can write a qcow2 header onto it that names any
 * file of the host as its backing or data file; whoever then reads the volume by its probed format (libvirt does when it
 * copies one, QEMU when a disk is attached as qcow2) gives the guest that file. So before a volume is copied, attached as
 * anything but raw, or made an image, its header is read: all that it names must be volumes themselves.
 */
import { posix } from "node:path";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { otherDisk } from "#management/image/image-format.ts";
import { isQcow2, readQcow2Header } from "#management/image/qcow2-header.ts";
import type { HostVolume, VolumePort } from "#storage/port.ts";

/** Header, its extensions and the backing file's name lie in the first cluster. */
const headBytes = 64 * 1024;
/** libvirt's and QEMU's chains are shorter; a longer one is a loop. */
const layersMax = 200;

type Volumes = Pick<VolumePort, "read" | "findVolumeByPath">;
type Located = Pick<HostVolume, "poolName" | "name" | "path">;

/** Throws invalid_field, naming `field`, when the volume leads out of the host's pools, and unsupported for other formats. */
export async function requireOwnContent(volumes: Volumes, volume: Located, call: Call, field: string): Promise<void> {
  const name = `Volume ${volume.name}`;
  let layer: Located = volume;
  for (let depth = 0; depth < layersMax; depth++) {
    const head = await headOf(volumes, layer, call);
    const other = otherDisk(head);
    if (other !== undefined) {
      throw new AppError("unsupported", `${name} holds a ${other} disk, which may name other files of the host.`, {
        field,
        remedy: "Convert it first: qemu-img convert -O qcow2 FILE FILE.qcow2",
      });
    }
    const header = isQcow2(head) ? readQcow2Header(head) : undefined;
    if (header?.hasDataFile === true) throw leadsOut(name, "its data in another file (data file)", field);
    const backing = header?.backingPath;
    if (backing === undefined) return;
    const path = backingFile(layer, backing);
    const below = path === undefined ? undefined : await volumes.findVolumeByPath(path, call);
    if (below === undefined) throw leadsOut(name, `${JSON.stringify(backing)} as its backing file`, field);
    layer = below;
  }
  throw leadsOut(name, `a chain of more than ${layersMax} files`, field);
}

/** A relative name is beside the layer itself; `json:…`, `nbd://…` and the like are no files of a pool (QEMU block.c). */
function backingFile(layer: Located, backing: string): string | undefined {
  if (/^[^/]*:/.test(backing) || /\p{Cc}/u.test(backing)) return undefined;
  return posix.resolve(posix.dirname(layer.path), backing);
}

/** A raw disk whose content would be taken for another format by whoever looks at it. */
export async function requireRawContent(volumes: Volumes, volume: Located, call: Call, field: string): Promise<void> {
  const head = await headOf(volumes, volume, call);
  const found = isQcow2(head) ? "qcow2" : otherDisk(head);
  if (found === undefined) return;
  const message = `Volume ${volume.name} is raw, but begins as a ${found} disk does: it can't be copied as it is. Nothing was done.`;
  throw new AppError("conflict", message, {
    field,
    remedy:
      "Its guest wrote that, which may be an attack. Copy it from inside the guest, or with qemu-img convert -f raw.",
  });
}

function headOf(volumes: Volumes, { poolName, name }: Located, call: Call): Promise<Uint8Array> {
  return volumes.read(poolName, name, { offset: 0, length: headBytes }, call);
}

function leadsOut(name: string, what: string, field: string): AppError {
  return new AppError(
    "invalid_field",
    `${name} names ${what}, which is no volume of this host's pools. Nothing was done.`,
    {
      field,
      remedy:
        "If that is right, put the file into a pool, or flatten the volume with qemu-img convert. Else a guest may have written it.",
    },
  );
}

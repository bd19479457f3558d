/**
 * Whether every layer of a disk says in what format the one below is. qemu-img before 6.1 let that be left out; libvirt
 * then starts a VM only if its XML says it, and an overlay on such a chain (a snapshot's, a linked clone's) has no XML
 * that does: it would never start. libvirt 9.0 guesses where the layer below is the last (virStorageSourceGetMetadata).
 */
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { isQcow2, readQcow2Header } from "#management/image/qcow2-header.ts";
import type { VolumePort } from "#storage/port.ts";

/** Header, extensions and the name of the layer below lie in the first cluster. */
const headBytes = 64 * 1024;
const layersMax = 200;

/** Throws unsupported; `what` names the disk: `Disk vda of VM web1`. */
export async function requireFormatsTold(
  volumes: Pick<VolumePort, "read" | "findVolumeByPath">,
  what: string,
  activePath: string,
  call: Call,
): Promise<void> {
  let layer = await volumes.findVolumeByPath(activePath, call);
  for (let depth = 0; depth < layersMax && layer?.backingPath !== undefined; depth++) {
    const below = await volumes.findVolumeByPath(layer.backingPath, call);
    if (below?.backingPath === undefined) return;
    const head = await volumes.read(layer.poolName, layer.name, { offset: 0, length: headBytes }, call);
    if (isQcow2(head) && readQcow2Header(head)?.backingFormat === undefined) {
      const message = `${what}: its layer ${layer.path} does not say in what format ${below.path} below it is, so nothing can be laid upon it. Nothing was changed.`;
      throw new AppError("unsupported", message, {
        remedy: `Write it down while the VM is off: qemu-img rebase -u -b ${below.path} -F ${below.format} ${layer.path}`,
      });
    }
    layer = below;
  }
}

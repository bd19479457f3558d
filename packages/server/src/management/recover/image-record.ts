/**
 * What Innkeeper knows of an image that its volume can't carry (name, description, sum, since when) lies beside it in its
 * pool: a volume `innkeeper-image-<id>.json`, by which `inn recover` finds images again. Images never change, so a record
 * is written once and deleted with its image. Records are no volumes to the user: host sync leaves them out.
 */
import { Type } from "typebox";
import { Check } from "typebox/value";
import { Image } from "@innkeeper/contract/resource/image.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { HostStorage } from "#storage/port.ts";

const recordPattern = /^innkeeper-image-[0-9a-z]{12}\.json$/;
/** An image's description has 4096 characters at most. */
const recordMaxBytes = 65_536;

const Record = Type.Omit(Image, ["revision", "path"]);

export function isImageRecord(volumeName: string): boolean {
  return recordPattern.test(volumeName);
}

function recordName(imageId: string): string {
  return `innkeeper-image-${imageId.slice("img-".length)}.json`;
}

/** Nothing is done if it is there, whole. */
export async function writeImageRecord({ volume }: HostStorage, image: Image, call: Call): Promise<void> {
  const { revision: _r, path: _p, ...record } = image;
  const name = recordName(image.id);
  const present = await volume.findVolume(image.poolName, name, call);
  if (present !== undefined) {
    if ((await readRecord(volume, image.poolName, name, call)) !== undefined) return;
    await volume.deleteVolume(image.poolName, name, call);
  }
  const content = Buffer.from(JSON.stringify(record));
  const definition = { poolName: image.poolName, name, format: "raw", capacityBytes: content.length } as const;
  await volume.createVolume(definition, call);
  await volume.upload(image.poolName, name, ReadableStream.from([content]), content.length, call);
}

export async function deleteImageRecord(
  { volume }: HostStorage,
  { id, poolName }: Pick<Image, "id" | "poolName">,
  call: Call,
): Promise<void> {
  await volume.deleteVolume(poolName, recordName(id), call);
}

/** The images of a pool whose volumes are still there, each with the host it was of. A record that can't be read is passed over. */
export async function readImageRecords(
  { volume }: HostStorage,
  poolName: string,
  call: Call,
): Promise<Omit<Image, "revision">[]> {
  const volumes = await volume.listVolumes(poolName, call);
  const found: Omit<Image, "revision">[] = [];
  for (const { name } of volumes.filter((each) => isImageRecord(each.name))) {
    const record = await readRecord(volume, poolName, name, call);
    const target = volumes.find((each) => each.name === record?.volumeName);
    if (record === undefined || target === undefined || recordName(record.id) !== name) continue;
    found.push({ ...record, poolName, path: target.path });
  }
  return found;
}

async function readRecord(volume: HostStorage["volume"], poolName: string, name: string, call: Call) {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const { content } = await volume.download(poolName, name, call);
    for await (const chunk of content) {
      size += chunk.byteLength;
      if (size > recordMaxBytes) return undefined;
      chunks.push(chunk);
    }
    const record: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    return Check(Record, record) ? record : undefined;
  } catch (error) {
    call.signal.throwIfAborted();
    if (error instanceof AppError && error.code === "host_unreachable") throw error;
    return undefined;
  }
}

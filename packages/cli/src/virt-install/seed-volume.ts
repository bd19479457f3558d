/**
 * A seed as a volume on the host that the VM goes to: made before the VM, since its drive holds it at the first start, and
 * deleted again if the VM could not be made.
 */
import { Readable } from "node:stream";
import type { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import { tableError } from "#cli-error.ts";
import { listAll } from "#list.ts";
import { filterValue } from "#lookup.ts";
import type { Invocation } from "#invocation.ts";
import { requireSuccess, watchTask } from "#task.ts";

export interface SeedVolume {
  readonly id: string;
  readonly name: string;
  readonly path: string;
}

/** Answers the volume, and the request with it in the drive `target`, on the host that the server would choose. */
export async function withSeed(
  invocation: Invocation,
  request: VmCreate,
  seed: { readonly iso: Buffer; readonly target: string },
): Promise<{ readonly volume: SeedVolume; readonly request: VmCreate }> {
  const { api } = invocation;
  const { hostId } = await api.call("vmPreview", { body: request });
  const volume = await makeVolume(invocation, request, hostId, seed.iso);
  const disks = (request.disks ?? []).map((disk) =>
    disk.target === seed.target ? { ...disk, path: volume.path } : disk,
  );
  return { volume, request: { ...request, host: hostId, disks } };
}

async function makeVolume(invocation: Invocation, request: VmCreate, hostId: string, iso: Buffer): Promise<SeedVolume> {
  const { api } = invocation;
  const pool = await poolFor(invocation, request, hostId);
  const name = `${request.name.replaceAll(/[^\w.-]+/g, "-").slice(0, 60)}-cidata-${Date.now().toString(36)}.iso`;
  const body = { poolId: pool.id, name, format: "raw", capacityBytes: iso.length } as const;
  const { result } = requireSuccess(await watchTask(invocation, await api.call("volumeCreate", { body })));
  const volume = { id: String(result?.["volumeId"]), name, path: String(result?.["path"]) };
  try {
    const content = { stream: Readable.from([iso]), sizeBytes: iso.length };
    await api.upload("volumeUpload", { parameters: { volumeId: volume.id } }, content);
  } catch (error) {
    await deleteSeed(invocation, volume);
    throw error;
  }
  return volume;
}

/** The disks' own pool, else the first whose volumes are files. */
async function poolFor(
  { api }: Invocation,
  request: VmCreate,
  hostId: string,
): Promise<{ readonly id: VmPoolId; readonly name: string }> {
  const { items } = await listAll(api, "poolList", { filter: `hostId=${filterValue(hostId)} and state=running` });
  const files = items.filter((pool) => ["dir", "fs", "netfs"].includes(pool.type));
  const named = request.disks?.flatMap((disk) => disk.pool ?? [])[0] ?? "default";
  const pool = files.find((each) => each.name === named) ?? files[0];
  if (pool !== undefined) return pool;
  throw tableError("insufficient_resources", "The host has no pool for the seed of --cloud-init.", {
    field: "--cloud-init",
    remedy: "Make one of type dir: inn pool create --help.",
  });
}
type VmPoolId = Awaited<ReturnType<typeof listAll<"poolList">>>["items"][number]["id"];

/** What is left of it is said, not thrown: there is another error already, or the VM is made. */
export async function deleteSeed(invocation: Invocation, volume: Pick<SeedVolume, "id" | "name">): Promise<void> {
  try {
    const task = await invocation.api.call("volumeDelete", { parameters: { volumeId: volume.id } });
    requireSuccess(await watchTask(invocation, task));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    invocation.remark(`The seed ${volume.name} could not be deleted: ${reason}\n`);
  }
}

/** The lab's guest on shared storage, and VMs that are made of it: what scenarios and tests of operations begin with. */
import { copyFile } from "node:fs/promises";
import path from "node:path";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import type { Lab } from "@innkeeper/lab/lab.ts";
import { newId } from "@innkeeper/contract/id.ts";
import { timestamp } from "#core/clock.ts";
import type { ControlPlane } from "./control-plane.ts";

export const imageName = "guest";

/** The lab's guest as an image on shared storage. */
export async function addImage(lab: Lab, plane: ControlPlane): Promise<void> {
  if (plane.inventory.list("image").length > 0) return;
  const { path: file } = await guestImage();
  await copyFile(file, path.join(lab.sharedFolder, "guest.qcow2"));
  const host = plane.host("h1");
  await plane.deps.hostSync.syncPool(host.id, "shared", { signal: AbortSignal.timeout(60_000) });
  const volume = plane.inventory.byHost("volume", host.id).find((each) => each.name === "guest.qcow2");
  if (volume === undefined) throw new Error("the image is not in the pool");
  const { path: imagePath, format, capacityBytes, name: volumeName } = volume;
  const place = { hostId: host.id, poolName: "shared", volumeName, path: imagePath, format, capacityBytes };
  const createdAt = timestamp(plane.deps.clock);
  await plane.store.transaction((transaction) =>
    transaction.put("image", { id: newId("image"), name: imageName, description: "", ...place, createdAt }),
  );
}

/** A VM on h1 whose disk is linked to the image. */
export async function makeVm(plane: ControlPlane, name: string, change: object = {}): Promise<string> {
  const request = {
    name,
    host: "h1",
    memory: { sizeMiB: 96 },
    disks: [{ image: imageName, linked: true, pool: "shared" }],
    nics: [{ network: "default" }],
    ...change,
  };
  return (await plane.succeed<{ vmId: string }>("vm.create", { request })).vmId;
}

/** As clients get it to edit. */
export async function definitionOf(plane: ControlPlane, name: string): Promise<string> {
  const { hostId, uuid } = plane.vm(name);
  const call = { signal: AbortSignal.timeout(60_000) };
  return await plane.deps.providers.get(hostId).guest.inventory.xml(uuid, { inactive: true }, call);
}

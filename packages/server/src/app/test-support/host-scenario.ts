/**
 * For each operation on hosts, storage and networks a situation in which it has all its steps to do, and how to see
 * whether it was done, on the host and in the store. What the operations make is named as in `made`.
 */
import assert from "node:assert/strict";
import type { Lab } from "@innkeeper/lab/lab.ts";
import type { ControlPlane, LabAccess } from "./control-plane.ts";
import type { LabChange } from "./lab-change.ts";
import type { LabState } from "./lab-state.ts";

/** What a scenario works with besides the control plane, which is another after each crash. */
export interface World {
  readonly lab: Lab;
  readonly access: LabAccess;
}

export interface Present {
  readonly onHost: boolean;
  readonly stored: boolean;
}

export interface HostScenario {
  readonly operation: string;
  /** Makes what the operation works on; returns its input. */
  prepare(plane: ControlPlane, world: World): Promise<object>;
  /** Whether what the operation makes (or removes) is on the host, and whether it is in the store. */
  present(plane: ControlPlane, world: World): Promise<Present>;
  /** For operations that remove: it is there when the task failed. */
  readonly removes?: boolean;
  /** On the hosts, when it is done. */
  readonly change?: LabChange;
  cleanUp(plane: ControlPlane): Promise<void>;
}

export const made = { pool: "cp", network: "cn", volume: "cv.raw", image: "ci", host: "second" } as const;

const imagesFolder = "/var/lib/libvirt/images";
const volumeFile = `${imagesFolder}/${made.volume}`;
const imageFile = `${imagesFolder}/${made.image}.img`;
// A pool of that name is on this host alone: that it is shared is proved by a volume that is made and deleted.
const poolRequest = {
  request: { host: "h1", name: made.pool, type: "dir", path: "/var/lib/libvirt/cp", shared: true },
};
/** As they are when they were just made. */
const poolLines: Partial<LabState> = {
  definitions: [`h1:/etc/libvirt/storage/${made.pool}.xml`, `h1:/etc/libvirt/storage/autostart/${made.pool}.xml`],
  objects: [`h1: pool ${made.pool} active yes`],
};
const networkLines: Partial<LabState> = {
  definitions: [
    `h1:/etc/libvirt/qemu/networks/${made.network}.xml`,
    `h1:/etc/libvirt/qemu/networks/autostart/${made.network}.xml`,
  ],
  objects: [`h1: network ${made.network} active yes yes`],
};
const active: Partial<LabState> = { objects: [`h1: network ${made.network} active yes yes`] };
const inactive: Partial<LabState> = { objects: [`h1: network ${made.network} inactive yes yes`] };
const volumeLines: Partial<LabState> = { files: [`h1:${volumeFile}`] };
const networkRequest = {
  request: { host: "h1", name: made.network, forwardMode: "isolated", address: "10.213.9.1/24" },
};

function otherUri(lab: Lab): string {
  return lab.host("h2").uri.replace(/\/system.*$/, ":16514/system");
}

function onHost({ lab }: World, ...argv: string[]): Promise<boolean> {
  return lab
    .host("h1")
    .exec(argv)
    .then(
      () => true,
      () => false,
    );
}

function stored(plane: ControlPlane, kind: "storage-pool" | "network" | "volume" | "image", name: string) {
  return plane.inventory.by(kind, "name", name)[0];
}

async function isNetworkActive(world: World): Promise<boolean> {
  return onHost(world, "sh", "-c", `virsh net-info ${made.network} | grep -q 'Active:.*yes'`);
}

const pool = {
  present: async (plane: ControlPlane, world: World) => ({
    onHost: await onHost(world, "virsh", "pool-info", made.pool),
    stored: stored(plane, "storage-pool", made.pool) !== undefined,
  }),
  async cleanUp(plane: ControlPlane) {
    const found = stored(plane, "storage-pool", made.pool);
    if (found !== undefined) await plane.succeed("pool.delete", { poolId: found.id });
  },
};

const network = {
  present: async (plane: ControlPlane, world: World) => ({
    onHost: await onHost(world, "virsh", "net-info", made.network),
    stored: stored(plane, "network", made.network) !== undefined,
  }),
  active: async (plane: ControlPlane, world: World) => {
    const document = stored(plane, "network", made.network);
    return { onHost: await isNetworkActive(world), stored: document !== undefined && Reflect.get(document, "active") };
  },
  async make(plane: ControlPlane) {
    const { networkId } = await plane.succeed("network.create", networkRequest);
    return { networkId };
  },
  async cleanUp(plane: ControlPlane) {
    const found = stored(plane, "network", made.network);
    if (found !== undefined) await plane.succeed("network.delete", { networkId: found.id });
  },
};

const volume = {
  request(plane: ControlPlane) {
    const poolId = stored(plane, "storage-pool", "local")?.id;
    return { request: { poolId, name: made.volume, format: "raw", capacityBytes: 4096 } };
  },
  async make(plane: ControlPlane) {
    const { volumeId } = await plane.succeed("volume.create", volume.request(plane));
    return { volumeId };
  },
  present: async (plane: ControlPlane, world: World) => ({
    onHost: await onHost(world, "test", "-e", volumeFile),
    stored: stored(plane, "volume", made.volume) !== undefined,
  }),
  async cleanUp(plane: ControlPlane) {
    const found = stored(plane, "volume", made.volume);
    if (found !== undefined) await plane.succeed("volume.delete", { volumeId: found.id });
  },
};

const nothing = async (): Promise<void> => {};

export const hostScenarios: readonly HostScenario[] = [
  {
    operation: "host.add",
    prepare: async (_plane, { lab, access }) => ({
      request: { uri: lab.host("h2").uri, tls: access.tls, name: made.host },
    }),
    async present(plane) {
      const host = plane.inventory.by("host", "name", made.host)[0];
      const isWhole = host?.connectionState === "connected" && plane.inventory.byHost("network", host.id).length > 0;
      const known = new Set(plane.inventory.list("host").map(({ id }) => id));
      const left = [...plane.inventory.list("storage-pool"), ...plane.inventory.list("network")].filter(
        ({ hostId }) => !known.has(hostId),
      );
      assert.deepEqual(left, [], "pools and networks of a host that is not stored");
      return { onHost: isWhole, stored: host !== undefined };
    },
    async cleanUp(plane) {
      const host = plane.inventory.by("host", "name", made.host)[0];
      if (host !== undefined) await plane.succeed("host.remove", { hostId: host.id });
    },
  },
  {
    operation: "host.remove",
    removes: true,
    async prepare(plane, { lab, access }) {
      const { id } = await plane.addHost(lab.host("h2").uri, access.tls, { name: made.host });
      return { hostId: id };
    },
    async present(plane) {
      const isStored = plane.inventory.by("host", "name", made.host).length > 0;
      const credentials = await plane.store.transaction((transaction) => transaction.listPrivate("host-credential"));
      return { onHost: credentials.length > 1, stored: isStored };
    },
    cleanUp: nothing,
  },
  {
    operation: "host.reconnect",
    // By another URI of the same daemon: what is stored and what is in use change together.
    async prepare(plane, { lab, access }) {
      const { id } = await plane.addHost(lab.host("h2").uri, access.tls, { name: made.host });
      return { hostId: id, request: { uri: otherUri(lab), tls: access.tls } };
    },
    async present(plane, { lab }) {
      const host = plane.inventory.by("host", "name", made.host)[0];
      if (host === undefined) return { onHost: false, stored: false };
      await plane.connected();
      const used = await plane.wiring.providers.get(host.id).link.hardware({ signal: AbortSignal.timeout(30_000) });
      assert.equal(used.uuid, host.hardware?.uuid);
      const isStored = host.uri === otherUri(lab);
      return { onHost: isStored, stored: isStored };
    },
    async cleanUp(plane) {
      const host = plane.inventory.by("host", "name", made.host)[0];
      if (host !== undefined) await plane.succeed("host.remove", { hostId: host.id });
    },
  },
  {
    operation: "host.refresh",
    // A network that virsh made where no event tells of it: the look finds it.
    async prepare(plane) {
      const host = plane.inventory.require("host", "h1");
      await plane.store.transaction(async (transaction) => {
        for (const each of await transaction.list("network")) {
          if (each.hostId === host.id && each.name === "lab") await transaction.delete("network", each.id);
        }
      });
      return { hostId: host.id };
    },
    async present(plane) {
      const isSeen = stored(plane, "network", "lab") !== undefined;
      return { onHost: isSeen, stored: isSeen };
    },
    cleanUp: nothing,
  },
  {
    operation: "pool.create",
    change: { comes: poolLines },
    prepare: async () => poolRequest,
    present: pool.present,
    cleanUp: pool.cleanUp,
  },
  {
    operation: "pool.delete",
    removes: true,
    change: { goes: poolLines },
    async prepare(plane) {
      const { poolId } = await plane.succeed("pool.create", poolRequest);
      return { poolId };
    },
    present: pool.present,
    cleanUp: pool.cleanUp,
  },
  {
    operation: "volume.create",
    change: { comes: volumeLines },
    prepare: async (plane) => volume.request(plane),
    present: volume.present,
    cleanUp: volume.cleanUp,
  },
  {
    operation: "volume.resize",
    prepare: async (plane) => ({ ...(await volume.make(plane)), request: { capacityBytes: 8192 } }),
    async present(plane, world) {
      const document = stored(plane, "volume", made.volume);
      return {
        onHost: await onHost(world, "sh", "-c", `test $(stat -c %s ${volumeFile}) = 8192`),
        stored: document !== undefined && Reflect.get(document, "capacityBytes") === 8192,
      };
    },
    cleanUp: volume.cleanUp,
  },
  {
    operation: "volume.delete",
    removes: true,
    change: { goes: volumeLines },
    prepare: volume.make,
    present: volume.present,
    cleanUp: volume.cleanUp,
  },
  {
    operation: "network.create",
    change: { comes: networkLines },
    prepare: async () => networkRequest,
    present: network.present,
    cleanUp: network.cleanUp,
  },
  {
    operation: "network.start",
    change: { goes: inactive, comes: active },
    async prepare(plane) {
      const input = await network.make(plane);
      await plane.succeed("network.stop", input);
      return input;
    },
    present: network.active,
    cleanUp: network.cleanUp,
  },
  {
    operation: "network.stop",
    removes: true,
    change: { goes: active, comes: inactive },
    prepare: network.make,
    present: network.active,
    cleanUp: network.cleanUp,
  },
  {
    operation: "network.delete",
    removes: true,
    change: { goes: networkLines },
    prepare: network.make,
    present: network.present,
    cleanUp: network.cleanUp,
  },
  {
    operation: "image.delete",
    removes: true,
    change: { goes: { files: [`h1:${imageFile}`] } },
    async prepare(plane, { lab }) {
      const context = { userName: "tester", signal: AbortSignal.timeout(30_000) };
      await lab.host("h1").exec(["truncate", "-s", "4096", imageFile]);
      await plane.wiring.pool.refresh(stored(plane, "storage-pool", "local")?.id ?? "", context);
      const volumeId = (stored(plane, "volume", `${made.image}.img`)?.id ?? "") as `vol-${string}`;
      const { id } = await plane.wiring.image.create({ name: made.image, volumeId }, context);
      return { imageId: id };
    },
    present: async (plane, world) => ({
      onHost: await onHost(world, "test", "-e", imageFile),
      stored: stored(plane, "image", made.image) !== undefined,
    }),
    cleanUp: nothing,
  },
];

/** A storage pool of one host. A pool that is `shared` is the same storage on every host that has a pool of its name. */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { Name } from "../name.ts";
import { baseFields, strict } from "./base.ts";

export const storagePoolStates = ["inactive", "building", "running", "degraded", "inaccessible"] as const; // virStoragePoolState
export type StoragePoolState = (typeof storagePoolStates)[number];

export const StoragePool = Type.Object({
  ...baseFields("storage-pool"),
  hostId: IdOf("host"),
  name: Type.String(),
  uuid: Type.String(),
  type: Type.String({ description: "libvirt's pool type: dir, fs, netfs, logical, rbd, zfs, iscsi …" }),
  state: Type.Unsafe<StoragePoolState>({ type: "string", enum: storagePoolStates }),
  path: Type.Optional(Type.String({ description: "target path on the host" })),
  source: Type.Optional(Type.String({ description: "for people, e.g. nfs1:/export" })),
  shared: Type.Boolean({ description: "the same storage on every host that has a pool of this name" }),
  autostart: Type.Boolean(),
  capacityBytes: Type.Integer({ minimum: 0 }),
  allocationBytes: Type.Integer({ minimum: 0 }),
  availableBytes: Type.Integer({ minimum: 0 }),
});
export type StoragePool = Static<typeof StoragePool>;

export const StoragePoolCreate = Type.Object(
  {
    host: Type.String({ minLength: 1, maxLength: 200, description: "name or id of the host" }),
    name: Name,
    type: Type.Unsafe<"dir" | "netfs">({ type: "string", enum: ["dir", "netfs"] }),
    path: Type.String({ pattern: "^/[^\\u0000]*$", maxLength: 4096 }),
    source: Type.Optional(
      Type.Object(
        {
          host: Type.String({ minLength: 1, maxLength: 255 }),
          path: Type.String({ minLength: 1, maxLength: 4096 }),
          format: Type.Optional(Type.String({ pattern: "^[a-z0-9]{1,20}$" })),
        },
        { ...strict, description: "netfs: the server and what it exports" },
      ),
    ),
    shared: Type.Optional(Type.Boolean()),
    autostart: Type.Optional(Type.Boolean({ default: true })),
  },
  strict,
);
export type StoragePoolCreate = Static<typeof StoragePoolCreate>;

export const StoragePoolChange = Type.Object(
  { shared: Type.Optional(Type.Boolean()), autostart: Type.Optional(Type.Boolean()) },
  { ...strict, minProperties: 1 },
);
export type StoragePoolChange = Static<typeof StoragePoolChange>;

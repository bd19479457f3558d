/** A volume (disk image, ISO …) in a storage pool. Its identity on a host is pool + name; `path` is what a domain refers to. */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { Name } from "../name.ts";
import { baseFields, strict } from "./base.ts";

export const volumeFormats = ["raw", "qcow2", "iso", "vmdk", "vdi", "vpc", "qed", "dir", "unknown"] as const;
export type VolumeFormat = (typeof volumeFormats)[number];

/** 64 TiB: the most that ext4 and qcow2 with default clusters hold with room to spare, and far below 2^53. */
export const volumeMaxBytes = 64 * 1024 ** 4;

export const Volume = Type.Object({
  ...baseFields("volume"),
  poolId: IdOf("storage-pool"),
  hostId: IdOf("host"),
  name: Type.String(),
  path: Type.String(),
  format: Type.Unsafe<VolumeFormat>({ type: "string", enum: volumeFormats }),
  capacityBytes: Type.Integer({ minimum: 0 }),
  allocationBytes: Type.Integer({ minimum: 0 }),
  backingPath: Type.Optional(Type.String({ description: "the layer below, if it is an overlay" })),
});
export type Volume = Static<typeof Volume>;

export const VolumeCreate = Type.Object(
  {
    poolId: IdOf("storage-pool"),
    name: Name,
    format: Type.Unsafe<"raw" | "qcow2">({ type: "string", enum: ["raw", "qcow2"] }),
    capacityBytes: Type.Integer({ minimum: 1, maximum: volumeMaxBytes }),
    preallocate: Type.Optional(Type.Boolean()),
  },
  strict,
);
export type VolumeCreate = Static<typeof VolumeCreate>;

export const VolumeResize = Type.Object(
  { capacityBytes: Type.Integer({ minimum: 1, maximum: volumeMaxBytes }) },
  strict,
);
export type VolumeResize = Static<typeof VolumeResize>;

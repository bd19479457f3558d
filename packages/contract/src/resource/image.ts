/** An image: a volume that new VMs are made from (a cloud image, an installer's ISO). It is never written to. */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { Name } from "../name.ts";
import { baseFields, Description, strict, Time } from "./base.ts";
import { type VolumeFormat, volumeFormats } from "./volume.ts";

export const Image = Type.Object({
  ...baseFields("image"),
  name: Name,
  description: Description,
  hostId: IdOf("host"),
  poolName: Type.String(),
  volumeName: Type.String(),
  path: Type.String(),
  format: Type.Unsafe<VolumeFormat>({ type: "string", enum: volumeFormats }),
  capacityBytes: Type.Integer({ minimum: 0 }),
  sha256: Type.Optional(Type.String({ description: "of the uploaded file" })),
  createdAt: Time,
});
export type Image = Static<typeof Image>;

/** An image from a volume that exists; new content is uploaded with imageUpload. */
export const ImageCreate = Type.Object(
  { name: Name, description: Type.Optional(Description), volumeId: IdOf("volume") },
  strict,
);
export type ImageCreate = Static<typeof ImageCreate>;

/** Endpoints of storage pools, volumes and images. */
import { Type } from "typebox";
import { Name } from "../name.ts";
import { Description, strict } from "../resource/base.ts";
import { Image, ImageCreate } from "../resource/image.ts";
import { MetricQuery, MetricSeries } from "../resource/metric.ts";
import { StoragePool, StoragePoolChange, StoragePoolCreate } from "../resource/storage-pool.ts";
import { Volume, VolumeCreate, VolumeResize } from "../resource/volume.ts";
import { answersTask, endpoints, ListQuery, PageOf } from "./endpoint.ts";

const octets = "application/octet-stream";
export const ImageUploadQuery = Type.Object(
  {
    name: Name,
    pool: Type.String({ minLength: 1, maxLength: 200, description: "pool by id, or by name with host" }),
    host: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    description: Type.Optional(Description),
    sizeBytes: Type.Integer({ minimum: 1, description: "length of the file that follows" }),
    sha256: Type.Optional(Type.String({ pattern: "^[0-9a-f]{64}$", description: "refused if the file's differs" })),
  },
  strict,
);

export const poolEndpoint = endpoints({
  poolList: {
    method: "GET",
    path: "/pools",
    access: "pool.read",
    summary: "Lists storage pools.",
    query: ListQuery,
    status: 200,
    response: PageOf(StoragePool),
  },
  poolGet: {
    method: "GET",
    path: "/pools/{poolId}",
    access: "pool.read",
    summary: "Shows a storage pool.",
    status: 200,
    response: StoragePool,
  },
  poolMetrics: {
    method: "GET",
    path: "/pools/{poolId}/metrics",
    access: "pool.read",
    summary: "Shows metrics of a storage pool over time: what the VMs of its host do to it, and the space taken.",
    query: MetricQuery,
    status: 200,
    response: MetricSeries,
  },
  poolCreate: {
    method: "POST",
    path: "/pools",
    access: "pool.create",
    summary: "Defines, builds and starts a storage pool on a host.",
    body: StoragePoolCreate,
    ...answersTask,
  },
  poolChange: {
    method: "PATCH",
    path: "/pools/{poolId}",
    access: "pool.change",
    summary: "Declares a pool shared (which is proved on the hosts) or sets autostart.",
    body: StoragePoolChange,
    status: 200,
    response: StoragePool,
  },
  poolRefresh: {
    method: "POST",
    path: "/pools/{poolId}/refresh",
    access: "pool.read",
    summary: "Reads a pool's volumes anew.",
    status: 200,
    response: StoragePool,
  },
  poolDelete: {
    method: "DELETE",
    path: "/pools/{poolId}",
    access: "pool.delete",
    summary: "Stops and forgets a pool; its volumes stay where they are.",
    ...answersTask,
  },
});

export const volumeEndpoint = endpoints({
  volumeList: {
    method: "GET",
    path: "/volumes",
    access: "volume.read",
    summary: "Lists volumes.",
    query: ListQuery,
    status: 200,
    response: PageOf(Volume),
  },
  volumeGet: {
    method: "GET",
    path: "/volumes/{volumeId}",
    access: "volume.read",
    summary: "Shows a volume.",
    status: 200,
    response: Volume,
  },
  volumeCreate: {
    method: "POST",
    path: "/volumes",
    access: "volume.create",
    summary: "Creates a volume.",
    body: VolumeCreate,
    ...answersTask,
  },
  volumeResize: {
    method: "POST",
    path: "/volumes/{volumeId}/resize",
    access: "volume.change",
    summary: "Grows a volume that no running VM uses.",
    body: VolumeResize,
    ...answersTask,
  },
  volumeDelete: {
    method: "DELETE",
    path: "/volumes/{volumeId}",
    access: "volume.delete",
    summary: "Deletes a volume that nothing uses.",
    ...answersTask,
  },
  volumeUpload: {
    method: "PUT",
    path: "/volumes/{volumeId}/content",
    access: "volume.change",
    summary: "Writes a volume's content from the start.",
    bodyType: octets,
    status: 200,
    response: Volume,
  },
  volumeDownload: {
    method: "GET",
    path: "/volumes/{volumeId}/content",
    access: "volume.download",
    summary: "A volume's content.",
    status: 200,
    responseType: octets,
  },
});

export const imageEndpoint = endpoints({
  imageList: {
    method: "GET",
    path: "/images",
    access: "image.read",
    summary: "Lists images.",
    query: ListQuery,
    status: 200,
    response: PageOf(Image),
  },
  imageGet: {
    method: "GET",
    path: "/images/{imageId}",
    access: "image.read",
    summary: "Shows an image.",
    status: 200,
    response: Image,
  },
  imageCreate: {
    method: "POST",
    path: "/images",
    access: "image.create",
    summary: "Makes a volume that exists an image.",
    body: ImageCreate,
    status: 201,
    response: Image,
  },
  imageUpload: {
    method: "PUT",
    path: "/images",
    access: "image.create",
    summary: "Uploads a file as a new image.",
    query: ImageUploadQuery,
    bodyType: octets,
    status: 201,
    response: Image,
  },
  imageDelete: {
    method: "DELETE",
    path: "/images/{imageId}",
    access: "image.delete",
    summary: "Deletes an image and its volume, unless disks are linked to it.",
    ...answersTask,
  },
});

/** Storage pools, volumes and images for people. */
import type { Image } from "@innkeeper/contract/resource/image.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { age, ago } from "#output/time.ts";
import { type Column, pairText } from "#output/table.ts";

export type PoolRow = StoragePool & { readonly hostName: string };
export type VolumeRow = Volume & { readonly hostName: string; readonly poolName: string };
export type ImageRow = Image & { readonly hostName: string };

export const poolColumns: readonly Column<PoolRow>[] = [
  { name: "name", value: (pool) => pool.name },
  { name: "host", value: (pool) => pool.hostName },
  { name: "type", value: (pool) => pool.type },
  { name: "state", value: (pool) => pool.state },
  { name: "shared", value: (pool) => (pool.shared ? "yes" : "no") },
  { name: "capacity", value: (pool) => formatBytes(pool.capacityBytes), right: true },
  { name: "free", value: (pool) => formatBytes(pool.availableBytes), right: true },
  { name: "path", value: (pool) => pool.path ?? "" },
  { name: "source", value: (pool) => pool.source ?? "", extra: true },
  { name: "id", value: (pool) => pool.id, extra: true },
];

export function poolText(pool: PoolRow): string {
  return pairText([
    ["name", pool.name],
    ["id", pool.id],
    ["host", pool.hostName],
    ["type", pool.type],
    ["state", pool.state],
    ["shared", pool.shared ? "yes: the same storage on every host that has a pool of this name" : "no"],
    ["autostart", pool.autostart ? "yes" : "no"],
    ["path", pool.path ?? ""],
    ["source", pool.source ?? ""],
    ["capacity", formatBytes(pool.capacityBytes)],
    ["used", formatBytes(pool.allocationBytes)],
    ["free", formatBytes(pool.availableBytes)],
  ]);
}

export const volumeColumns: readonly Column<VolumeRow>[] = [
  { name: "name", value: (volume) => volume.name },
  { name: "pool", value: (volume) => volume.poolName },
  { name: "host", value: (volume) => volume.hostName },
  { name: "format", value: (volume) => volume.format },
  { name: "capacity", value: (volume) => formatBytes(volume.capacityBytes), right: true },
  { name: "allocated", value: (volume) => formatBytes(volume.allocationBytes), right: true },
  { name: "path", value: (volume) => volume.path },
  { name: "backing", value: (volume) => volume.backingPath ?? "", extra: true },
  { name: "id", value: (volume) => volume.id, extra: true },
];

export function volumeText(volume: VolumeRow): string {
  return pairText([
    ["name", volume.name],
    ["id", volume.id],
    ["pool", volume.poolName],
    ["host", volume.hostName],
    ["path", volume.path],
    ["format", volume.format],
    ["capacity", formatBytes(volume.capacityBytes)],
    ["allocated", formatBytes(volume.allocationBytes)],
    ["backing", volume.backingPath ?? "none"],
  ]);
}

export const imageColumns: readonly Column<ImageRow>[] = [
  { name: "name", value: (image) => image.name },
  { name: "format", value: (image) => image.format },
  { name: "size", value: (image) => formatBytes(image.capacityBytes), right: true },
  { name: "pool", value: (image) => image.poolName },
  { name: "host", value: (image) => image.hostName },
  { name: "age", value: (image) => age(image.createdAt) },
  { name: "description", value: (image) => image.description },
  { name: "volume", value: (image) => image.volumeName, extra: true },
  { name: "sha256", value: (image) => image.sha256 ?? "", extra: true },
  { name: "id", value: (image) => image.id, extra: true },
];

export function imageText(image: ImageRow): string {
  return pairText([
    ["name", image.name],
    ["id", image.id],
    ["description", image.description],
    ["host", image.hostName],
    ["pool", image.poolName],
    ["volume", image.volumeName],
    ["path", image.path],
    ["format", image.format],
    ["size", formatBytes(image.capacityBytes)],
    ["sha256", image.sha256 ?? "unknown: not uploaded through Innkeeper"],
    ["created", ago(image.createdAt)],
  ]);
}

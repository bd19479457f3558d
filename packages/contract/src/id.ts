/**
 * Ids of Innkeeper's resources: a prefix that names the kind and 12 characters of Crockford's base32 (60 bits), random
 * or, for what hosts have by themselves, made of what the host knows it by. They say what they are in a log line, are
 * safe in a URL, a file name and an XML attribute, and are never reused for something else.
 */
import { Type, type TUnsafe } from "typebox";

/** Every kind of resource that has an id, with the prefix of its ids. */
export const idPrefix = {
  cluster: "cluster",
  host: "host",
  vm: "vm",
  snapshot: "snap",
  volume: "vol",
  "storage-pool": "pool",
  network: "net",
  image: "img",
  task: "task",
  event: "evt",
  user: "user",
  token: "tok",
} as const;

export type Kind = keyof typeof idPrefix;

/** An id of one kind; ids of different kinds do not mix. */
export type Id<K extends Kind> = `${(typeof idPrefix)[K]}-${string}` & { readonly __kind?: K };

export type ClusterId = Id<"cluster">;
export type HostId = Id<"host">;
export type VmId = Id<"vm">;
export type SnapshotId = Id<"snapshot">;
export type VolumeId = Id<"volume">;
export type StoragePoolId = Id<"storage-pool">;
export type ImageId = Id<"image">;
export type TaskId = Id<"task">;

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"; // Crockford's base32, lower case
const randomLength = 12;

/** A new random id, e.g. `vm-3k9w0c7m2x5q`. */
export function newId<K extends Kind>(kind: K): Id<K> {
  return idOfBytes(kind, crypto.getRandomValues(new Uint8Array(randomLength)));
}

/** The id that these bytes give: five bits of each of the first twelve. */
export function idOfBytes<K extends Kind>(kind: K, bytes: Uint8Array): Id<K> {
  const characters = Array.from(bytes.subarray(0, randomLength), (byte) => alphabet[byte & 31]).join("");
  return `${idPrefix[kind]}-${characters}` as Id<K>;
}

/** Whether a text has the form of an id of this kind (not whether such a resource exists). */
export function isId<K extends Kind>(kind: K, text: string): text is Id<K> {
  return new RegExp(`^${idPrefix[kind]}-[${alphabet}]{${randomLength}}$`).test(text);
}

/** Schema of an id of this kind. */
export function IdOf<K extends Kind>(kind: K): TUnsafe<Id<K>> {
  return Type.Unsafe<Id<K>>({
    type: "string",
    pattern: `^${idPrefix[kind]}-[${alphabet}]{${randomLength}}$`,
    description: `id of a ${kind}`,
  });
}

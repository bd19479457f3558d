/**
 * Names of volumes that Innkeeper creates: readable, unique by the id that is part of them, and made of characters that
 * every file system, LVM and libvirt take. No user text reaches a file name in any other way.
 */

const stemMaxLength = 60;

/** A VM's name reduced to letters, digits, dot, underscore and hyphen; `vm` if nothing is left. */
export function safeStem(name: string): string {
  const ascii = name
    .normalize("NFKD")
    .replaceAll(/[^A-Za-z0-9._-]+/g, "-")
    .replaceAll(/-{2,}/g, "-")
    .replaceAll(/^[-.]+|[-.]+$/g, "")
    .slice(0, stemMaxLength);
  return ascii === "" ? "vm" : ascii;
}

/** The random part of an id: `vm-3k9w0c7m2x5q` → `3k9w0c7m2x5q`. */
function randomPart(id: string): string {
  return id.slice(id.indexOf("-") + 1);
}

/** Whether Innkeeper named the volume after the VM. */
export function isNamedAfter(vm: { readonly id: string }, volumePath: string): boolean {
  return volumePath.slice(volumePath.lastIndexOf("/") + 1).includes(`-${randomPart(vm.id)}-`);
}

/** `web1-3k9w0c7m2x5q-vda.qcow2`; ids are never reused, so neither is the name. */
export function diskVolumeName(vm: { name: string; id: string }, target: string, format: string, unique = ""): string {
  const suffix = unique === "" ? "" : `-${randomPart(unique)}`;
  return `${safeStem(vm.name)}-${randomPart(vm.id)}-${target}${suffix}.${format === "raw" ? "img" : format}`;
}

/** The overlay that a disk gets when it is frozen for `id` (a snapshot, or a task that reverts or copies). */
export function overlayVolumeName(vm: { name: string; id: string }, target: string, id: string): string {
  return `${safeStem(vm.name)}-${randomPart(vm.id)}-${target}-${safeStem(id)}.qcow2`;
}

export function memoryVolumeName(vm: { name: string; id: string }, snapshotId: string): string {
  return `${safeStem(vm.name)}-${randomPart(vm.id)}-${safeStem(snapshotId)}.mem`;
}

/**
 * A client's edit of a domain that exists (as with virsh edit). Invariant: whatever of the edited document reaches out of
 * the guest, the domain had before, word for word: devices may go, and their settings inside of the guest may change, but
 * not what they are attached to. An image that is raw stays raw: read as qcow2 it could name any file of the host.
 */
import type { Element } from "@xmldom/xmldom";
import { AppError } from "#core/app-error.ts";
import { canonical } from "./canonical.ts";
import { documentField, invalid } from "./document.ts";
import { type OutwardPart, outwardParts, titleOf } from "./document-check.ts";
import { attribute, child, children, remove, setText, text } from "./element.ts";

/** Of a device that reaches out: what is only the guest's to see, and may change (libvirt 9.0 docs/formatdomain.rst). */
const innerParts: Readonly<Record<string, readonly string[]>> = {
  disk: ["iotune", "serial", "wwn", "vendor", "product", "geometry", "blockio"],
  interface: ["mac", "model", "link", "bandwidth", "mtu", "coalesce", "driver"],
};
const innerPartsOfAll: readonly string[] = ["alias", "address", "boot"];
/** Attributes that stay, of elements whose others may change. */
const fixedAttributes: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  disk: { driver: ["name", "type"], target: ["dev"] },
};

/** Refuses by its path what `edited` has and `present`, the domain without its secrets, has not. */
export function checkEdit(present: Element, edited: Element): void {
  keepIdentity(present, edited);
  const left = new Map<string, number>();
  for (const [, identity] of owners(present)) left.set(identity, (left.get(identity) ?? 0) + 1);
  for (const [part, identity] of owners(edited)) {
    const count = left.get(identity) ?? 0;
    if (count === 0) refuse(part);
    left.set(identity, count - 1);
  }
}

/** Name, UUID and type: put in where the document has none, refused where it has others. */
function keepIdentity(present: Element, edited: Element): void {
  for (const [name, remedy] of [
    ["name", "; `inn vm rename` renames a VM"],
    ["uuid", "; `inn vm clone` makes another VM of it"],
  ] as const) {
    const before = text(child(present, name));
    const after = text(child(edited, name));
    const isSame = after === before || (name === "uuid" && after?.toLowerCase() === before);
    if (after !== undefined && !isSame) {
      throw invalid(`its ${name} is ${after} and not ${before}${remedy}`);
    }
    setText(edited, name, before);
  }
  const type = attribute(present, "type");
  if (attribute(edited, "type") !== type) throw invalid(`the domain's type is ${type} and stays so`);
  edited.removeAttribute("id");
  for (const graphics of children(child(edited, "devices"), "graphics")) {
    if (graphics.hasAttribute("passwd") || graphics.hasAttribute("passwdValidTo")) {
      throw invalid("it has a console's password; the one that the console has stays");
    }
  }
}

/** Everything that reaches out, once per device, and what it is known by. */
function owners(root: Element): Map<OutwardPart, string> {
  const cards = children(child(root, "devices"), "interface").map((owner) => ({ path: "devices/interface", owner }));
  const seen = new Set<Element>();
  const found = new Map<OutwardPart, string>();
  for (const part of [...outwardParts(root), ...cards]) {
    if (seen.has(part.owner)) continue;
    seen.add(part.owner);
    const identity = isDevice(part.owner) ? outerOf(part.owner) : part.owner;
    found.set(part, `${identity === part.owner ? part.path : "device"} ${canonical(identity)}`);
  }
  return found;
}

function isDevice(element: Element): boolean {
  return element.parentNode?.nodeName === "devices";
}

/** A copy of a device without what is only the guest's to see. */
function outerOf(device: Element): Element {
  const copy = device.cloneNode(true) as Element;
  for (const name of [...innerPartsOfAll, ...(innerParts[device.tagName] ?? [])]) {
    for (const part of children(copy, name)) remove(part);
  }
  for (const [name, kept] of Object.entries(fixedAttributes[device.tagName] ?? {})) {
    for (const part of children(copy, name)) {
      for (const each of Array.from(part.attributes)) if (!kept.includes(each.name)) part.removeAttribute(each.name);
    }
  }
  return copy;
}

function refuse(part: OutwardPart): never {
  const { owner } = part;
  const device = attribute(child(owner, "target"), "dev") ?? attribute(child(owner, "mac"), "address");
  const named = device === undefined ? titleOf(part) : `devices/${owner.tagName} ${device}`;
  const what = isDevice(owner) ? `add ${named}, or change what it is attached to` : `add or change ${named}`;
  const message = `An edit must not ${what}: it reaches out of the guest, or is not known to stay in it. Nothing was changed.`;
  throw new AppError("unsupported", message, {
    field: documentField,
    remedy:
      "Disks, media and network cards are added and changed with `inn vm set`; the rest with virsh edit on the host. Edit the configuration of the next start: what only a running guest has (aliases, tap devices) is in no definition.",
  });
}

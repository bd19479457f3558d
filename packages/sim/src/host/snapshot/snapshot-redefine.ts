// A snapshot that was known elsewhere, or before, from its own XML (VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE).
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_XML_ERROR,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { readDefinition } from "#host/domain/definition.ts";
import type { Random } from "#host/random.ts";
import { find, format, textOf } from "#xml/element.ts";
import { type Request, type Snapshot, snapshotError, type SnapshotState } from "./snapshot-definition.ts";

const STATES: readonly string[] = ["running", "paused", "shutoff", "disk-snapshot"];

export function redefined(request: Request, random: Random): Snapshot {
  const { name, root } = request;
  if (name === undefined) throw snapshotError(VIR_ERR_XML_ERROR, "a redefined snapshot must have a name");
  const created = textOf(root, "creationTime");
  if (created === undefined) throw snapshotError(VIR_ERR_INTERNAL_ERROR, "missing creationTime from existing snapshot");
  const state = textOf(root, "state");
  if (state === undefined) throw snapshotError(VIR_ERR_XML_ERROR, "missing state from existing snapshot");
  if (!STATES.includes(state))
    throw snapshotError(VIR_ERR_CONFIG_UNSUPPORTED, `Invalid state '${state}' in domain snapshot XML`);
  const isOff = state === "shutoff" || state === "disk-snapshot";
  const domain = find(root, "domain");
  const inactive = find(root, "inactiveDomain");
  return {
    name,
    description: request.description,
    state: state as SnapshotState,
    parentName: textOf(root, "parent", "name"),
    createdS: Number(created),
    memory: request.memory ?? { location: isOff ? "no" : "internal" },
    disks: request.disks.map((disk) => ({ ...disk, location: disk.location ?? "no" })),
    domain: domain?.attributes.has("type") === true ? format(readDefinition(format(domain), random)) : undefined,
    inactive: inactive === undefined ? undefined : format({ ...inactive, name: "domain" }),
  };
}

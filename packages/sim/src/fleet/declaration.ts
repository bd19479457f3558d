// A fleet as it is declared: by counts on the command line, or in full in a JSON file.
import { readFileSync } from "node:fs";
import { readRule } from "#fault/rule.ts";
import { array, number, object, refuseUnknown, whole } from "#json-field.ts";
import { OFFICE_LOAD } from "#host/load.ts";
import { STANDARD_NODE } from "#host/node/shape.ts";
import type { FaultRule } from "#fault/rule.ts";
import type { LoadProfile } from "#host/load.ts";
import type { NodeShape } from "#host/node/shape.ts";

export interface VmShape {
  readonly vcpus: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
  /** How many of the fleet's VMs have it, beside the others. */
  readonly weight: number;
}

export interface ClusterDeclaration {
  readonly name: string;
  readonly hostCount: number;
  readonly vmsPerHost: number;
  readonly node: NodeShape;
}

export interface FleetDeclaration {
  readonly seed: number;
  readonly clusters: readonly ClusterDeclaration[];
  readonly vmShapes: readonly VmShape[];
  /** Of the VMs, those that run. */
  readonly runningPart: number;
  /** shared: each cluster's disks are on one NFS export; local: on each host's own file system. */
  readonly storage: "shared" | "local";
  readonly load: LoadProfile;
  readonly faults: readonly FaultRule[];
}

const SHAPES: readonly VmShape[] = [
  { vcpus: 1, memoryMiB: 1_024, diskGiB: 10, weight: 4 },
  { vcpus: 2, memoryMiB: 4_096, diskGiB: 20, weight: 8 },
  { vcpus: 4, memoryMiB: 8_192, diskGiB: 40, weight: 5 },
  { vcpus: 8, memoryMiB: 16_384, diskGiB: 80, weight: 2 },
];

const MOST = { clusters: 1_000, hosts: 10_000, vms: 500 };

export interface Counts {
  readonly clusters: number;
  readonly hosts: number;
  readonly vms: number;
  readonly seed: number;
  readonly storage: "shared" | "local";
}

export function byCounts({ clusters, hosts, vms, seed, storage }: Counts): FleetDeclaration {
  const list = Array.from({ length: whole("cluster", clusters, MOST.clusters) }, (_each, index) => ({
    name: `c${index + 1}`,
    hostCount: whole("host", hosts, MOST.hosts),
    vmsPerHost: whole("vm", vms, MOST.vms),
    node: STANDARD_NODE,
  }));
  return { seed, clusters: list, vmShapes: SHAPES, runningPart: 0.9, storage, load: OFFICE_LOAD, faults: [] };
}

/** Throws with the field that is wrong. */
export function readDeclaration(path: string): FleetDeclaration {
  const given = object("the file", JSON.parse(readFileSync(path, "utf8")));
  const allowed = ["seed", "clusters", "vmShapes", "runningPart", "storage", "load", "faults"];
  refuseUnknown(path, given, allowed);
  const storage = given["storage"] ?? "shared";
  if (storage !== "shared" && storage !== "local") throw new Error("storage must be shared or local");
  const clusters = array("clusters", given["clusters"]).map((each, index) => readCluster(each, index));
  if (clusters.length === 0) throw new Error("clusters must name at least one");
  return {
    seed: number("seed", given["seed"] ?? 1),
    clusters,
    vmShapes: given["vmShapes"] === undefined ? SHAPES : array("vmShapes", given["vmShapes"]).map(readShape),
    runningPart: number("runningPart", given["runningPart"] ?? 0.9, 1),
    storage,
    load: merged("load", OFFICE_LOAD, given["load"]),
    faults: array("faults", given["faults"] ?? []).map(readRule),
  };
}

function readCluster(input: unknown, index: number): ClusterDeclaration {
  const at = `clusters[${index}]`;
  const given = object(at, input);
  const name = given["name"] ?? `c${index + 1}`;
  if (typeof name !== "string" || !/^[a-z][a-z0-9-]{0,30}$/u.test(name))
    throw new Error(`${at}.name must be made of a-z, 0-9 and -`);
  return {
    name,
    hostCount: whole(`${at}.hosts`, given["hosts"], MOST.hosts),
    vmsPerHost: whole(`${at}.vmsPerHost`, given["vmsPerHost"] ?? 0, MOST.vms),
    node: merged(`${at}.node`, STANDARD_NODE, given["node"]),
  };
}

function readShape(input: unknown, index: number): VmShape {
  return merged(`vmShapes[${index}]`, { vcpus: 1, memoryMiB: 1_024, diskGiB: 10, weight: 1 }, input);
}

/** What is given in place of what stands by default; each value of the default's type. */
function merged<T extends object>(at: string, defaults: T, input: unknown): T {
  const given = object(at, input ?? {});
  const known = new Map<string, unknown>(Object.entries(defaults));
  refuseUnknown(at, given, [...known.keys()]);
  for (const [key, value] of Object.entries(given)) {
    if (typeof value !== typeof known.get(key)) throw new Error(`${at}.${key} must be a ${typeof known.get(key)}`);
  }
  return { ...defaults, ...given };
}

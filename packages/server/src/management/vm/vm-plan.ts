/**
 * The plan of a new VM: checks a request against the inventory, chooses the host, and resolves everything that is made
 * (ids, MACs, volumes) on it. Called by `check`, which throws the plan away, and again by the operation's first step.
 */
import { randomUUID } from "node:crypto";
import { newId, type VmId } from "@innkeeper/contract/id.ts";
import { checkName } from "@innkeeper/contract/name.ts";
import type { Cluster } from "@innkeeper/contract/resource/cluster.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { candidate } from "#management/placement/candidate.ts";
import { place, type PlacementDecision, unfit } from "#management/placement/placement.ts";
import { type DiskPlan, planDisks } from "./disk-plan.ts";
import { checkBootOrders, checkDisks } from "./disk-target.ts";
import { refuse } from "./field-check.ts";
import { domainTypeFor, specFor } from "./guest-default.ts";
import { checkHardware, hostProblems, type Problem } from "./hardware-check.ts";
import { requireNameFree } from "./lookup.ts";
import { checkNics, nicProblems, planNics } from "./nic-plan.ts";

export interface VmPlan {
  readonly placement: PlacementDecision;
  readonly vm: { readonly id: VmId; readonly name: string; readonly uuid: string };
  /** Complete but for the disks, whose paths are known once they are made. */
  readonly spec: Omit<VmSpec, "disks">;
  readonly disks: readonly DiskPlan[];
}

/** Throws AppErrors that name the request's field. */
export function planVm(inventory: Inventory, request: VmCreate, id: VmId = newId("vm")): VmPlan {
  checkRequest(inventory, request);
  const vm = { id, name: request.name, uuid: request.uuid ?? randomUUID() };
  const placement =
    request.host === undefined ? placeAnywhere(inventory, request, vm) : placeOn(inventory, request, vm);
  const host = inventory.require("host", placement.hostId);
  return {
    placement,
    vm,
    spec: { ...specFor(host, request), nics: planNics(inventory, request.nics ?? []) },
    disks: disksOn(inventory, host, request, vm),
  };
}

function checkRequest(inventory: Inventory, request: VmCreate): void {
  const wrong = checkName(request.name);
  if (wrong !== undefined) refuse("name", `The name ${wrong}.`);
  requireNameFree(inventory, request.name, "name");
  checkDocuments(inventory, request);
  checkHardware({ ...request, cpu: { count: 1, ...request.cpu } });
  const disks = request.disks ?? [];
  const nics = request.nics ?? [];
  checkDisks(disks, { field: "disks", machine: request.machine, ioThreads: request.ioThreads, taken: [] });
  checkNics(inventory, nics);
  checkBootOrders([
    ...disks.map((disk, index) => ({ field: `disks[${index}]`, bootOrder: disk.bootOrder })),
    ...nics.map((nic, index) => ({ field: `nics[${index}]`, bootOrder: nic.bootOrder })),
  ]);
}

function checkDocuments(inventory: Inventory, { uuid, domainXml, installXml, start }: VmCreate): void {
  const owner = uuid === undefined ? undefined : inventory.by("vm", "uuid", uuid)[0];
  if (owner !== undefined) refuse("uuid", `UUID ${uuid} is VM ${owner.name}'s.`, "conflict");
  if (installXml === undefined) return;
  if (domainXml === undefined) refuse("installXml", "installXml needs domainXml.");
  if (start !== true) refuse("installXml", "installXml is of the first start; it needs start.");
}

type NewVm = Pick<VmPlan["vm"], "id" | "name">;

function placeOn(inventory: Inventory, request: VmCreate, vm: NewVm): PlacementDecision {
  const host = inventory.require("host", request.host ?? "", { field: "host" });
  const cluster = clusterWanted(inventory, request);
  if (cluster !== undefined && host.clusterId !== cluster.id) {
    refuse("host", `Host ${host.name} is not in cluster ${cluster.name}.`);
  }
  const only = candidate(inventory, host, (each) => problemsOn(inventory, each, request, vm));
  const [problem] = only.problems;
  if (problem !== undefined) refuse(problem.field, problem.message, problem.code);
  return { hostId: host.id, hostName: host.name, reasons: ["it was asked for"], rejected: [] };
}

function placeAnywhere(inventory: Inventory, request: VmCreate, vm: NewVm): PlacementDecision {
  const cluster = clusterWanted(inventory, request);
  const hosts = cluster === undefined ? inventory.list("host") : inventory.by("host", "clusterId", cluster.id);
  const field = cluster === undefined ? "host" : "cluster";
  const where = cluster === undefined ? "" : ` of cluster ${cluster.name}`;
  if (hosts.length === 0) {
    throw new AppError("insufficient_resources", `There is no host${where}.`, {
      field,
      remedy:
        cluster === undefined
          ? "Add one: inn host add."
          : `Put one into it: inn host set HOST --cluster ${cluster.name}.`,
    });
  }
  const candidates = hosts.map((host) =>
    candidate(inventory, host, (each) => problemsOn(inventory, each, request, vm)),
  );
  const demand = { memoryMiB: request.memory.sizeMiB, start: request.start === true };
  const decision = place(candidates, demand);
  if (decision !== undefined) return decision;
  // One reason that holds everywhere is the request's own fault, and its field is named.
  const problems = candidates.map((each) => each.problems[0]);
  const [first] = problems;
  const reasons = candidates.map((each) => unfit(each, demand) ?? "").join(" ");
  if (first !== undefined && problems.every((each) => each?.field === first.field && each.code === first.code)) {
    refuse(first.field, reasons, first.code);
  }
  throw new AppError("insufficient_resources", `No host${where} can take VM ${request.name}. ${reasons}`, { field });
}

function clusterWanted(inventory: Inventory, { cluster }: VmCreate): Cluster | undefined {
  return cluster === undefined ? undefined : inventory.require("cluster", cluster, { field: "cluster" });
}

function problemsOn(inventory: Inventory, host: Host, request: VmCreate, vm: NewVm): Problem[] {
  const problems = hostProblems(host, request, domainTypeFor(host));
  problems.push(...nicProblems(inventory, host, request.nics ?? []));
  try {
    disksOn(inventory, host, request, vm);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    problems.push({ code: error.code, field: error.field ?? "disks", message: error.message });
  }
  return problems;
}

function disksOn(inventory: Inventory, host: Host, request: VmCreate, vm: NewVm): DiskPlan[] {
  const { machine } = specFor(host, request);
  return planDisks({ inventory, host, vm, field: "disks", machine, usedTargets: [] }, request.disks ?? []);
}

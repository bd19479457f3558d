/** Checks of a migration: whether the target has the memory, the pages, the CPUs and the NUMA nodes. */
import type { MigrationFinding } from "@innkeeper/contract/resource/migration.ts";
import { parseCpuSet } from "./field-check.ts";
import type { MigrationFacts } from "./migration-fact.ts";
import { refused, warned } from "./migration-finding.ts";

export function checkMemory(facts: MigrationFacts): MigrationFinding[] {
  const { vm, target, live, others, memoryFreeMiB } = facts;
  const { sizeMiB, balloonMiB, hugepageKiB } = vm.spec.memory;
  const totalMiB = target.hardware?.memoryMiB;
  const remedy = "Free memory there, or choose another host.";
  if (totalMiB !== undefined && sizeMiB > totalMiB) {
    const message = `Host ${target.name} has ${totalMiB} MiB of memory in all; the VM has ${sizeMiB} MiB.`;
    return [refused("memory", "insufficient_resources", message, "Choose a larger host.")];
  }
  if (hugepageKiB !== undefined && hugepageKiB > 0) return checkPages(facts, hugepageKiB);
  if (!live) return [];
  const nowMiB = Math.min(balloonMiB ?? sizeMiB, sizeMiB);
  if (memoryFreeMiB < nowMiB) {
    const message = `Host ${target.name} has ${memoryFreeMiB} MiB of memory free; the VM needs ${nowMiB} MiB.`;
    return [refused("memory", "insufficient_resources", message, remedy)];
  }
  if (memoryFreeMiB < sizeMiB) {
    const message = `Host ${target.name} has ${memoryFreeMiB} MiB of memory free: enough for the ${nowMiB} MiB that the VM has now (balloon), not for the ${sizeMiB} MiB that it may grow to.`;
    return [warned("memory", message, remedy)];
  }
  const promisedMiB = others
    .filter((other) => other.id !== vm.id && ["running", "blocked", "paused"].includes(other.state))
    .reduce((sum, other) => sum + other.spec.memory.sizeMiB, sizeMiB);
  if (totalMiB === undefined || promisedMiB <= totalMiB) return [];
  const message = `With this VM, host ${target.name} has promised ${promisedMiB} MiB to running VMs, of ${totalMiB} MiB that it has.`;
  return [warned("memory", message, remedy)];
}

function checkPages({ vm, target, live, reception }: MigrationFacts, sizeKiB: number): MigrationFinding[] {
  if (reception === undefined || reception.pages.length === 0) return [];
  const needed = Math.ceil((vm.spec.memory.sizeMiB * 1024) / sizeKiB);
  const pages = reception.pages.find((each) => each.sizeKiB === sizeKiB);
  if (pages === undefined) {
    const sizes = reception.pages.map((each) => `${each.sizeKiB} KiB`).join(", ");
    const message = `Host ${target.name} has no memory pages of ${sizeKiB} KiB, which back the VM; it has ${sizes}.`;
    return [refused("memory", "unsupported", message, "Choose a host that has them, or change the VM.")];
  }
  if (pages.free >= needed) return [];
  const message = `Host ${target.name} has ${pages.free} free pages of ${sizeKiB} KiB; the VM needs ${needed}.`;
  const remedy = `Reserve more there (virsh allocpages ${sizeKiB}KiB ${needed}), or choose another host.`;
  return [live ? refused("memory", "insufficient_resources", message, remedy) : warned("memory", message, remedy)];
}

export function checkNuma({ vm, target, live, traits, reception }: MigrationFacts): MigrationFinding[] {
  const { cpu, memory } = vm.spec;
  const findings: MigrationFinding[] = [];
  const cpus = reception?.cpus ?? Array.from({ length: target.hardware?.cpuCount ?? 0 }, (_unused, number) => number);
  const pins = [
    ...(cpu.pinning ?? []).map((pin) => pin.hostCpus),
    ...(cpu.emulatorPinning ? [cpu.emulatorPinning] : []),
  ];
  const pinned = new Set(pins.flatMap((set) => numbersIn(set)));
  const missingCpus = cpus.length === 0 ? [] : [...pinned].filter((number) => !cpus.includes(number));
  if (missingCpus.length > 0) {
    const message = `The VM is pinned to CPU ${missingCpus.join(", ")}, which host ${target.name} does not have.`;
    const remedy = "Pin it to CPUs that both hosts have, or unpin it, before it moves.";
    findings.push(refused("numa", "unsupported", message, remedy));
  }
  const nodes = reception?.nodes ?? [];
  if (nodes.length === 0) return findings;
  const wanted = new Set([
    ...(memory.numaCells ?? []).flatMap((cell) => numbersIn(cell.hostNodes ?? "")),
    ...(traits?.strictNodes ?? []),
  ]);
  const missing = [...wanted].filter((id) => !nodes.some((node) => node.id === id));
  if (missing.length > 0) {
    const message = `The VM takes its memory from NUMA node ${missing.join(", ")}, which host ${target.name} does not have.`;
    findings.push(
      refused("numa", "unsupported", message, "Choose a host with such nodes, or take the VM's NUMA placement away."),
    );
  }
  const strict = nodes.filter((node) => traits?.strictNodes.includes(node.id));
  const freeMiB = strict.reduce((sum, node) => sum + node.freeMiB, 0);
  const isBacked = memory.hugepageKiB !== undefined && memory.hugepageKiB > 0;
  if (live && strict.length > 0 && missing.length === 0 && !isBacked && freeMiB < memory.sizeMiB) {
    const ids = strict.map((node) => node.id).join(", ");
    const message = `NUMA node ${ids} of host ${target.name} has ${freeMiB} MiB free (without caches); the VM takes ${memory.sizeMiB} MiB from there alone.`;
    findings.push(
      warned(
        "numa",
        message,
        "Free memory on these nodes, or let the VM's memory prefer them instead (mode preferred).",
      ),
    );
  }
  return findings;
}

function numbersIn(set: string): number[] {
  return [...(parseCpuSet(set) ?? [])];
}

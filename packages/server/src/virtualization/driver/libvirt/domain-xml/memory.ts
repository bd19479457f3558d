/**
 * Memory of a domain: <memory>, <currentMemory>, <memoryBacking>, <memtune>, guest NUMA cells and their host nodes.
 * Facts: libvirt 9.0 docs/formatdomain.rst "Memory Allocation", "Memory Backing", "Memory Tuning", "Guest NUMA topology".
 * QEMU knows neither memory shares nor a guaranteed minimum: both are management's and live in our metadata.
 */
import type { Element } from "@xmldom/xmldom";
import type { ReadElement } from "#libvirt/read-xml.ts";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import {
  add,
  append,
  attribute,
  child,
  children,
  create,
  ensure,
  remove,
  removeIfEmpty,
  setAttributes,
  text,
} from "./element.ts";
import { setText, wholeNumber } from "./element.ts";
import { editResource, readResource } from "./metadata.ts";
import { elementMiB, elementKiB, scaledBytes } from "./scaled.ts";

export type Memory = VmSpec["memory"];
type NumaCell = NonNullable<Memory["numaCells"]>[number];

/** What <hugepages/> without a size means on x86 (Linux Documentation/admin-guide/mm/hugetlbpage.rst). */
const defaultHugepageKiB = 2048;
/** VIR_DOMAIN_MEMORY_PARAM_UNLIMITED >> 10: larger values mean no limit (libvirt-domain.h). */
const unlimitedMiB = 9_007_199_254_740_991 / 1024;

export function readMemory(root: ReadElement): Memory {
  const sizeMiB = elementMiB(child(root, "memory")) ?? 0;
  const balloonMiB = elementMiB(child(root, "currentMemory"));
  const hugepages = child(root, "memoryBacking/hugepages");
  const hugepageKiB = hugepages && readPageKiB(child(hugepages, "page"));
  const limitMiB = elementMiB(child(root, "memtune/hard_limit"));
  const cells = readCells(root);
  return {
    sizeMiB,
    ...(balloonMiB !== undefined && balloonMiB !== sizeMiB && { balloonMiB }),
    ...(hugepageKiB !== undefined && { hugepageKiB }),
    ...(limitMiB !== undefined && limitMiB < unlimitedMiB && { limitMiB }),
    ...(child(root, "memoryBacking/locked") && { locked: true }),
    ...(cells.length > 0 && { numaCells: cells }),
    ...readResource(root),
  };
}

function readPageKiB(page: ReadElement | undefined): number {
  const bytes = scaledBytes(attribute(page, "size"), attribute(page, "unit"));
  return bytes === undefined ? defaultHugepageKiB : Math.ceil(bytes / 1024);
}

function readCells(root: ReadElement): NumaCell[] {
  const nodesByCell = new Map(
    children(child(root, "numatune"), "memnode").map((node) => [attribute(node, "cellid"), attribute(node, "nodeset")]),
  );
  return children(child(root, "cpu/numa"), "cell").map((cell, index) => {
    const bytes = scaledBytes(attribute(cell, "memory"), attribute(cell, "unit")) ?? 0;
    const hostNodes = nodesByCell.get(attribute(cell, "id") ?? String(index));
    return {
      cpus: attribute(cell, "cpus") ?? "",
      memoryMiB: Math.ceil(bytes / 1024 ** 2),
      ...(hostNodes !== undefined && { hostNodes }),
    };
  });
}

/** Sets what is given; 0 for `hugepageKiB` and `limitMiB` removes. */
export function editMemory(root: Element, change: Partial<Memory>): void {
  if (change.numaCells !== undefined) editCells(root, change.numaCells);
  if (change.sizeMiB !== undefined) editSize(root, change.sizeMiB);
  if (change.balloonMiB !== undefined) editBalloon(root, change.balloonMiB);
  if (change.hugepageKiB !== undefined) editHugepages(root, change.hugepageKiB);
  if (change.locked !== undefined) editLocked(root, change.locked);
  if (change.limitMiB !== undefined) {
    const tune = ensure(root, "memtune");
    remove(child(tune, "hard_limit"));
    if (change.limitMiB > 0) add(tune, "hard_limit", { unit: "MiB" }, change.limitMiB);
    removeIfEmpty(tune);
  }
  if (change.shares !== undefined || change.reservationMiB !== undefined) editResource(root, change);
}

function editSize(root: Element, sizeMiB: number): void {
  const cellsMiB = readCells(root).reduce((sum, cell) => sum + cell.memoryMiB, 0);
  if (cellsMiB > 0 && cellsMiB !== sizeMiB) {
    const message = `the NUMA cells have ${cellsMiB} MiB together, not ${sizeMiB} MiB; give numaCells that fit.`;
    throw new AppError("invalid_field", message, { field: "memory.sizeMiB" });
  }
  const before = readMemory(root);
  setMiB(root, "memory", sizeMiB);
  // A guest without a balloon target below its size has none afterwards either.
  setMiB(root, "currentMemory", Math.min(before.balloonMiB ?? sizeMiB, sizeMiB));
}

function editBalloon(root: Element, balloonMiB: number): void {
  const sizeMiB = elementMiB(child(root, "memory")) ?? 0;
  if (balloonMiB > sizeMiB) {
    const message = `${balloonMiB} MiB are more than the VM's ${sizeMiB} MiB.`;
    throw new AppError("invalid_field", message, { field: "memory.balloonMiB" });
  }
  if (balloonMiB === sizeMiB) {
    const exact = elementKiB(child(root, "memory")) ?? 0;
    setAttributes(ensure(root, "currentMemory"), { unit: "KiB" });
    setText(root, "currentMemory", exact);
  } else {
    setMiB(root, "currentMemory", balloonMiB);
  }
}

function setMiB(root: Element, name: string, sizeMiB: number): void {
  const element = ensure(root, name);
  setAttributes(element, { unit: "MiB" });
  element.textContent = String(sizeMiB);
}

function editHugepages(root: Element, pageKiB: number): void {
  const backing = ensure(root, "memoryBacking");
  remove(child(backing, "hugepages"));
  if (pageKiB > 0) add(append(backing, create(backing, "hugepages")), "page", { size: pageKiB, unit: "KiB" });
  removeIfEmpty(backing);
}

function editLocked(root: Element, locked: boolean): void {
  const backing = ensure(root, "memoryBacking");
  if (locked) ensure(backing, "locked");
  else remove(child(backing, "locked"));
  removeIfEmpty(backing);
}

function editCells(root: Element, cells: readonly NumaCell[]): void {
  const numa = ensure(root, "cpu/numa");
  const present = children(numa, "cell");
  present.slice(cells.length).forEach(remove);
  cells.forEach((cell, index) => {
    const element = present[index] ?? add(numa, "cell");
    setAttributes(element, { id: index, cpus: cell.cpus, memory: cell.memoryMiB * 1024, unit: "KiB" });
  });
  if (cells.length === 0) remove(numa);
  removeIfEmpty(child(root, "cpu"));
  const tune = ensure(root, "numatune");
  const nodes = new Map(children(tune, "memnode").map((node) => [wholeNumber(attribute(node, "cellid")), node]));
  for (const [cellId, node] of nodes) {
    if (cells[cellId ?? -1]?.hostNodes === undefined) remove(node);
  }
  cells.forEach((cell, index) => {
    if (cell.hostNodes === undefined) return;
    const node = nodes.get(index) ?? add(tune, "memnode", { cellid: index, mode: "strict" });
    setAttributes(node, { nodeset: cell.hostNodes });
  });
  removeIfEmpty(tune);
  const sum = cells.reduce((total, cell) => total + cell.memoryMiB, 0);
  if (sum > 0 && text(child(root, "memory")) !== undefined && sum !== elementMiB(child(root, "memory"))) {
    setMiB(root, "memory", sum);
    setMiB(root, "currentMemory", Math.min(sum, elementMiB(child(root, "currentMemory")) ?? sum));
  }
}

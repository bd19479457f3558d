/** Snapshots for people: the tree that they form, with the place where the VM is now. */
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import { ago } from "#output/time.ts";
import { type Column, pairText } from "#output/table.ts";

export type SnapshotRow = Snapshot & { readonly vmName: string };

export const snapshotColumns: readonly Column<SnapshotRow>[] = [
  { name: "vm", value: (snapshot) => snapshot.vmName },
  { name: "name", value: (snapshot) => snapshot.name },
  { name: "memory", value: (snapshot) => (snapshot.withMemory ? "yes" : "no") },
  { name: "state", value: (snapshot) => snapshot.vmState },
  { name: "current", value: (snapshot) => (snapshot.current ? "*" : "") },
  { name: "created", value: (snapshot) => ago(snapshot.createdAt) },
  { name: "source", value: (snapshot) => snapshot.source ?? "innkeeper", extra: true },
  { name: "description", value: (snapshot) => snapshot.description },
  { name: "id", value: (snapshot) => snapshot.id, extra: true },
];

/** One line per snapshot, children below their parent, oldest first. A snapshot whose parent is not in the list is a root. */
export function snapshotTree(snapshots: readonly Snapshot[]): string[] {
  const ids = new Set<string>(snapshots.map(({ id }) => id));
  const sorted = snapshots.toSorted((left, right) => left.createdAt.localeCompare(right.createdAt));
  const children = Map.groupBy(sorted, ({ parentId }) =>
    parentId !== null && ids.has(parentId) ? parentId : undefined,
  );
  const lines: string[] = [];
  // An own stack: a chain of a thousand snapshots is no reason to overflow the call stack.
  const stack = (children.get(undefined) ?? []).map((snapshot) => ({ snapshot, indent: "", branch: "" })).reverse();
  for (let entry = stack.pop(); entry !== undefined; entry = stack.pop()) {
    const { snapshot, indent, branch } = entry;
    lines.push(`${indent}${branch}${lineOf(snapshot)}`);
    const below = `${indent}${branch === "" ? "" : branch === "└─ " ? "   " : "│  "}`;
    const own = children.get(snapshot.id) ?? [];
    for (const [index, child] of own.toReversed().entries()) {
      stack.push({ snapshot: child, indent: below, branch: index === 0 ? "└─ " : "├─ " });
    }
  }
  return lines;
}

function lineOf(snapshot: Snapshot): string {
  const { withMemory, quiesced, source } = snapshot;
  const marks = [
    withMemory ? "with memory" : "disks only",
    quiesced ? "quiesced" : "",
    source === undefined ? "" : `kept by ${source}`,
  ];
  const here = snapshot.current ? "  ◀ the VM is here" : "";
  return `${snapshot.name}  (${marks.filter((mark) => mark !== "").join(", ")}, ${ago(snapshot.createdAt)})${here}`;
}

export function snapshotText(snapshot: SnapshotRow, parentName: string): string {
  return pairText([
    ["name", snapshot.name],
    ["id", snapshot.id],
    ["VM", snapshot.vmName],
    ["source", snapshot.source === undefined ? "Innkeeper" : "libvirt's own keeping (virsh, virt-manager)"],
    ["parent", parentName],
    ["description", snapshot.description],
    ["created", ago(snapshot.createdAt)],
    ["memory", snapshot.withMemory ? (snapshot.memoryPath ?? "yes") : "no"],
    ["quiesced", snapshot.quiesced ? "yes" : "no"],
    ["VM was", snapshot.vmState],
    ["current", snapshot.current ? "yes: the VM's disks grew from it" : "no"],
    ["disks", snapshot.disks.map((disk) => `${disk.target}  ${disk.path}  (${disk.format})`).join("\n")],
  ]);
}

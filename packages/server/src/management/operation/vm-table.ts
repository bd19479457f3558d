/** The operations on VMs and snapshots. */
import type { Operation } from "#management/task/operation.ts";
import type { OperationDeps } from "./deps.ts";

export function vmOperations(_deps: OperationDeps): readonly Operation[] {
  return [];
}

/** Every operation that a task can run: an explicit list, from which the REST routes and the crash matrix are made. */
import type { Operation } from "#management/task/operation.ts";
import type { HostOperationDeps } from "#management/host/host-operation-deps.ts";
import { hostOperations } from "./host-table.ts";
import { vmOperations } from "./vm-table.ts";

export function operations(deps: HostOperationDeps): readonly Operation[] {
  return [...hostOperations(deps), ...vmOperations(deps)];
}

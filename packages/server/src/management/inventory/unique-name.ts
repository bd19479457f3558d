/** Names that are one resource's alone: those of hosts and clusters. */
import { checkName } from "@innkeeper/contract/name.ts";
import { AppError } from "#core/app-error.ts";
import { type Inventory, kindTitle } from "#management/inventory/inventory.ts";

/** name_taken unless no other of the kind has the name. */
export function requireUniqueName(
  inventory: Inventory,
  kind: "cluster" | "host",
  name: string,
  exceptId?: string,
): void {
  const wrong = checkName(name);
  if (wrong !== undefined) throw new AppError("invalid_field", `name ${wrong}.`, { field: "name" });
  const taken = inventory.by(kind, "name", name).some(({ id }) => id !== exceptId);
  if (!taken) return;
  const what = `There is already a ${kindTitle(kind)} ${JSON.stringify(name)}.`;
  throw new AppError("name_taken", what, { field: "name" });
}

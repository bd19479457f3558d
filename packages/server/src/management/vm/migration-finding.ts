/** How checks of a migration say what they found: one sentence about what is so, one about what to do. */
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { MigrationCheckName, MigrationFinding } from "@innkeeper/contract/resource/migration.ts";
import type { MigrationFacts } from "./migration-fact.ts";

/** Pure: facts in, findings out; nothing found, nothing said. What the facts don't hold is not judged. */
export type MigrationCheck = (facts: MigrationFacts) => readonly MigrationFinding[];

type About = Pick<MigrationFinding, "field" | "device">;

export function refused(
  check: MigrationCheckName,
  code: ErrorCode,
  message: string,
  remedy: string,
  about: About = { field: "host" },
): MigrationFinding {
  return { check, severity: "error", code, message, remedy, ...about };
}

export function warned(
  check: MigrationCheckName,
  message: string,
  remedy: string,
  about: About = { field: "host" },
): MigrationFinding {
  return { check, severity: "warning", message, remedy, ...about };
}

export function noted(check: MigrationCheckName, message: string, about: About = { field: "host" }): MigrationFinding {
  return { check, severity: "info", message, remedy: "", ...about };
}

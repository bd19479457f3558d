/** Every check of a migration's pre-flight is proved on real hosts, at its gravest. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type MigrationCheckName, migrationChecks } from "@innkeeper/contract/resource/migration.ts";
import { deviceRows } from "./migration-device-row.ts";
import { machineRows } from "./migration-machine-row.ts";

/** Hints, never proofs: they refuse nothing. */
const onlyWarn: readonly MigrationCheckName[] = ["version"];

test("every check has a row in the lab, with an error if it can refuse", () => {
  const rows = [...machineRows, ...deviceRows];
  const missing = migrationChecks.filter((name) => {
    const severity = onlyWarn.includes(name) ? "warning" : "error";
    return !rows.some((row) => row.check === name && row.severity === severity);
  });
  assert.deepEqual(missing, []);
});

/** Whether a VM can move to a host: what the pre-flight of a migration found. The same checks run inside the migration. */
import { Type, type Static } from "typebox";
import { type ErrorCode, errorCodes } from "../error-code.ts";
import { IdOf } from "../id.ts";
import { strict } from "./base.ts";
import { VmMigrate } from "./vm.ts";

/** What is checked, in the order in which findings are told. */
export const migrationChecks = [
  "host",
  "guest",
  "identity",
  "connection",
  "machine",
  "cpu",
  "firmware",
  "tpm",
  "device",
  "disk",
  "snapshot",
  "secret",
  "network",
  "memory",
  "numa",
  "version",
  "port",
  "definition",
] as const;
export type MigrationCheckName = (typeof migrationChecks)[number];

/** `error`: it would fail or harm the guest, and is refused. `warning`: it may; for people to judge. `info`: good to know. */
export const findingSeverities = ["error", "warning", "info"] as const;
export type FindingSeverity = (typeof findingSeverities)[number];

export const MigrationFinding = Type.Object({
  check: Type.Unsafe<MigrationCheckName>({ type: "string", enum: migrationChecks }),
  severity: Type.Unsafe<FindingSeverity>({ type: "string", enum: findingSeverities }),
  message: Type.String({ description: "what is so, in one sentence" }),
  remedy: Type.String({ description: "what to do about it; empty where nothing need be done" }),
  field: Type.Optional(Type.String({ description: "the field of the request that it is about" })),
  device: Type.Optional(
    Type.String({ description: "the device that it is about: vda, a MAC address, a PCI address …" }),
  ),
  code: Type.Optional(
    Type.Unsafe<ErrorCode>({ type: "string", enum: errorCodes, description: "of an error, as in a problem document" }),
  ),
});
export type MigrationFinding = Static<typeof MigrationFinding>;

/** `verdict` is the gravest finding's severity; `ok` when there is no error and no warning. */
export const migrationVerdicts = ["ok", "warning", "error"] as const;
export type MigrationVerdict = (typeof migrationVerdicts)[number];

export const HostMigrationReport = Type.Object({
  hostId: IdOf("host"),
  hostName: Type.String(),
  clusterName: Type.Optional(Type.String({ description: "of the host; absent: it is in none" })),
  verdict: Type.Unsafe<MigrationVerdict>({ type: "string", enum: migrationVerdicts }),
  copyBytes: Type.Integer({ minimum: 0, description: "how much of disks is copied, at most" }),
  findings: Type.Array(MigrationFinding),
});
export type HostMigrationReport = Static<typeof HostMigrationReport>;

export const VmMigrationCheck = Type.Object(
  {
    host: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: "name or id of the target; default: every other host" }),
    ),
    copyDisks: VmMigrate.properties.copyDisks,
    postCopy: VmMigrate.properties.postCopy,
    encrypt: VmMigrate.properties.encrypt,
  },
  strict,
);
export type VmMigrationCheck = Static<typeof VmMigrationCheck>;

export const VmMigrationReport = Type.Object({
  vmId: IdOf("vm"),
  vmName: Type.String(),
  fromHostId: IdOf("host"),
  live: Type.Boolean({ description: "it runs, and would move while it does" }),
  hosts: Type.Array(HostMigrationReport),
});
export type VmMigrationReport = Static<typeof VmMigrationReport>;

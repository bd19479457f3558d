/**
 * Whether a VM can move to a host: everything that would make it fail or hurt, found before anything moves. Each check is
 * pure over the facts; the same ones answer "can it?", make the table of all hosts, and guard the migration itself.
 */
import type {
  HostMigrationReport,
  MigrationCheckName,
  MigrationFinding,
  MigrationVerdict,
} from "@innkeeper/contract/resource/migration.ts";
import { AppError } from "#core/app-error.ts";
import { checkDevice, checkSecret } from "./migration-check-device.ts";
import { checkDisk, checkNetwork, checkSnapshot, isCopied } from "./migration-check-disk.ts";
import {
  checkConnection,
  checkGuest,
  checkHost,
  checkIdentity,
  checkRefusal,
  checkVersion,
} from "./migration-check-host.ts";
import { checkCpu, checkDefinition, checkFirmware, checkMachine, checkTpm } from "./migration-check-machine.ts";
import { checkPort } from "./migration-check-port.ts";
import { checkMemory, checkNuma } from "./migration-check-memory.ts";
import type { MigrationFacts } from "./migration-fact.ts";
import type { MigrationCheck } from "./migration-finding.ts";

/** `host` comes before all others, `definition` after them. */
type Row = Exclude<MigrationCheckName, "host" | "definition">;
const checks: Readonly<Record<Row, MigrationCheck>> = {
  guest: checkGuest,
  identity: checkIdentity,
  connection: checkConnection,
  machine: checkMachine,
  cpu: checkCpu,
  firmware: checkFirmware,
  tpm: checkTpm,
  device: checkDevice,
  disk: checkDisk,
  snapshot: checkSnapshot,
  secret: checkSecret,
  network: checkNetwork,
  memory: checkMemory,
  numa: checkNuma,
  version: checkVersion,
  port: checkPort,
};

/** Empty: there is nothing to say against it. */
export function migrationFindings(facts: MigrationFacts): MigrationFinding[] {
  const unfit = checkHost(facts);
  if (unfit.length > 0) return unfit;
  const findings = Object.values(checks).flatMap((check) => check(facts));
  const isExplained = findings.some(facts.live ? isError : isGrave);
  return isExplained ? findings : [...findings, ...checkRefusal(facts), ...checkDefinition(facts)];
}

export function migrationReport(facts: MigrationFacts): HostMigrationReport {
  const { target, request } = facts;
  const findings = migrationFindings(facts);
  const copied = request.copyDisks === true ? facts.disks.filter(isCopied) : [];
  const copyBytes = copied.reduce((sum, fact) => sum + fact.copyBytes, 0);
  return { hostId: target.id, hostName: target.name, verdict: verdictOf(findings), copyBytes, findings };
}

function verdictOf(findings: readonly MigrationFinding[]): MigrationVerdict {
  if (findings.some(isError)) return "error";
  return findings.some(isGrave) ? "warning" : "ok";
}

/** Throws what is against it, with all findings; returns what is only to be known. */
export function requireMovable(facts: MigrationFacts): MigrationFinding[] {
  const { vm, target } = facts;
  const findings = migrationFindings(facts);
  const errors = findings.filter(isError);
  const [first] = errors;
  if (first === undefined) return findings;
  const all = errors.map(({ message }) => message).join(" ");
  throw new AppError(
    first.code ?? "unsupported",
    `VM ${vm.name} can't move to host ${target.name}. ${all} Nothing was moved.`,
    {
      ...(first.field === undefined ? {} : { field: first.field }),
      remedy: errors.map(({ remedy }) => remedy).join(" "),
      fault: { findings },
    },
  );
}

function isGrave({ severity }: MigrationFinding): boolean {
  return severity !== "info";
}

function isError({ severity }: MigrationFinding): boolean {
  return severity === "error";
}

// A fault as it is declared: what goes wrong, where, how often.
import { errorCodeNames } from "@innkeeper/libvirt/generated/error-name.ts";

export const FAULT_KINDS = ["refuse", "hang", "slow", "cut", "fail"] as const;

export interface FaultRule {
  /**
   * refuse: connections are refused; hang: calls are never answered (without a procedure: nothing is read any more);
   * slow: answers come late; cut: connections break after so many bytes; fail: calls fail with an error of libvirt's.
   */
  readonly kind: (typeof FAULT_KINDS)[number];
  /** Names of hosts, with * for any text; default: all. */
  readonly host: string;
  /** Names of procedures ("domainCreate*"); default: all. */
  readonly procedure: string;
  /** Of being hit: 0 … 1. */
  readonly probability: number;
  readonly delayMs: number;
  readonly afterBytes: number;
  /** VIR_ERR_… */
  readonly code: number;
  readonly message: string;
}

const DEFAULT_DELAY_MS = 1_000;
const DEFAULT_BYTES = 4_096;

/** From JSON. Throws with what is wrong, in the user's words. */
export function readRule(input: unknown): FaultRule {
  if (typeof input !== "object" || input === null) throw new Error("a fault is an object with a kind");
  const given = new Map<string, unknown>(Object.entries(input));
  const kind = FAULT_KINDS.find((each) => each === given.get("kind"));
  if (kind === undefined) throw new Error(`fault: kind must be one of ${FAULT_KINDS.join(", ")}`);
  for (const key of given.keys())
    if (!["kind", "host", "procedure", "probability", "delayMs", "afterBytes", "code", "message"].includes(key))
      throw new Error(`fault: there is no ${key}`);
  const probability = numberIn(given, "probability", 1);
  if (probability > 1) throw new Error("fault: probability must be between 0 and 1");
  return {
    kind,
    host: textIn(given, "host", "*"),
    procedure: textIn(given, "procedure", "*"),
    probability,
    delayMs: numberIn(given, "delayMs", DEFAULT_DELAY_MS),
    afterBytes: numberIn(given, "afterBytes", DEFAULT_BYTES),
    code: codeIn(given.get("code")),
    message: textIn(given, "message", "simulated fault"),
  };
}

function textIn(given: ReadonlyMap<string, unknown>, name: string, otherwise: string): string {
  const value = given.get(name) ?? otherwise;
  if (typeof value !== "string") throw new Error(`fault: ${name} must be a text`);
  return value;
}

function numberIn(given: ReadonlyMap<string, unknown>, name: string, otherwise: number): number {
  const value = given.get(name) ?? otherwise;
  if (typeof value !== "number" || !(value >= 0)) throw new Error(`fault: ${name} must be a number of 0 or more`);
  return value;
}

/** By name or number; default: operation failed. */
function codeIn(value: unknown): number {
  if (value === undefined) return 9; // VIR_ERR_OPERATION_FAILED
  const found = Object.entries(errorCodeNames).find(([code, name]) => name === value || Number(code) === value);
  if (found === undefined)
    throw new Error(`fault: code must be a name like VIR_ERR_OPERATION_FAILED, not ${String(value)}`);
  return Number(found[0]);
}

export function matches(pattern: string, name: string): boolean {
  const source = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/gu, String.raw`\$&`));
  return new RegExp(`^${source.join(".*")}$`, "u").test(name);
}

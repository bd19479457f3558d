// A fault as it is declared: what goes wrong, where, how often.
import { number, object, refuseUnknown, text } from "#json-field.ts";
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

const FIELDS = ["kind", "host", "procedure", "probability", "delayMs", "afterBytes", "code", "message"];

/** From JSON. Throws with what is wrong, in the user's words. */
export function readRule(input: unknown): FaultRule {
  const given = object("fault", input);
  refuseUnknown("fault", given, FIELDS);
  const kind = FAULT_KINDS.find((each) => each === given["kind"]);
  if (kind === undefined) throw new Error(`fault: kind must be one of ${FAULT_KINDS.join(", ")}`);
  return {
    kind,
    host: text("fault: host", given["host"] ?? "*"),
    procedure: text("fault: procedure", given["procedure"] ?? "*"),
    probability: number("fault: probability", given["probability"] ?? 1, 1),
    delayMs: number("fault: delayMs", given["delayMs"] ?? DEFAULT_DELAY_MS),
    afterBytes: number("fault: afterBytes", given["afterBytes"] ?? DEFAULT_BYTES),
    code: codeIn(given["code"]),
    message: text("fault: message", given["message"] ?? "simulated fault"),
  };
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

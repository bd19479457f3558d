// The error that a simulated daemon answers with: libvirt's code, the part of libvirt that it comes from, and libvirt's
// own text. Whatever else is thrown is a bug of the simulator and is answered as an internal error.
import { errorMessages } from "./error-message.ts";
import {
  VIR_ERR_ERROR,
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_NO_SUPPORT,
  VIR_ERR_RPC,
  VIR_FROM_NONE,
  VIR_FROM_RPC,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import type { NetMessageError } from "@innkeeper/libvirt/generated/net-type.ts";

export class SimError extends Error {
  override readonly name = "SimError";
  readonly code: number;
  readonly domain: number;
  readonly detail: string | null;
  /** Of a failed system call (VIR_ERR_SYSTEM_ERROR); -1: none. */
  readonly errno: number;

  /**
   * @param code VIR_ERR_…
   * @param domain VIR_FROM_…
   * @param detail what stands behind the code's own words; none gives the plain text ("authentication failed").
   * @param errno goes with the error as its first number (virReportSystemError).
   */
  constructor(code: number, domain: number, detail: string | null = null, errno = -1) {
    super(messageOf(code, detail));
    this.code = code;
    this.domain = domain;
    this.detail = detail;
    this.errno = errno;
  }

  /** In words of its own, without those of its code (virReportInvalidArg, older parts of libvirt). */
  static inWords(code: number, domain: number, message: string): SimError {
    const error = new SimError(code, domain, message);
    error.message = message;
    return error;
  }
}

function messageOf(code: number, detail: string | null): string {
  const [plain, withDetail] = errorMessages[code] ?? ["Unknown error", "Unknown error: %s"];
  return detail === null ? plain : withDetail.replace("%s", () => detail);
}

/** The error as it goes over the wire (virRaiseErrorFull: str1 is the pattern, str2 the detail). */
export function wireError(error: unknown): NetMessageError {
  const { code, domain, detail, message, errno } = error instanceof SimError ? error : internalError(error);
  const [plain, withDetail] = errorMessages[code] ?? ["Unknown error", "Unknown error: %s"];
  return {
    code,
    domain,
    message,
    level: VIR_ERR_ERROR,
    dom: null,
    str1: detail === null ? plain : withDetail,
    str2: detail,
    str3: null,
    int1: errno,
    int2: -1,
    net: null,
  };
}

function internalError(error: unknown): SimError {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_NONE, `simulator: ${text}`);
}

/** What a driver without the function answers (virReportUnsupportedError). */
export function notSupported(procedure: string): SimError {
  return new SimError(VIR_ERR_NO_SUPPORT, VIR_FROM_NONE, apiName(procedure));
}

export function unknownProcedure(number: number): SimError {
  return new SimError(VIR_ERR_RPC, VIR_FROM_RPC, `unknown procedure: ${number}`);
}

/** Words that libvirt's API spells in capitals and its protocol does not (src/libvirt_public.syms). */
const CAPITALS = /(?:Xml|Uuid|Id|Cpu|Os|Uri|Io|Iothread|Fs|Ssh|Pm|Rw|Dhcp|Numa|Cpus|Sev|Fd|Ids)(?=[A-Z]|$)/gu;

/** "domainGetXmlDesc" → "virDomainGetXMLDesc" */
export function apiName(procedure: string): string {
  const words = procedure.replace(CAPITALS, (word) => SPELLING[word] ?? word.toUpperCase());
  return `vir${words.charAt(0).toUpperCase()}${words.slice(1)}`;
}

const SPELLING: Readonly<Record<string, string>> = {
  Iothread: "IOThread",
  Fs: "FS",
  Ids: "IDs",
  Numa: "Numa",
  Cpus: "CPUs",
  Ssh: "SSH",
  Rw: "RW",
};

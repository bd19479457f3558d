/**
 * Foreign errors of the libvirt drivers → AppError, by table. The host's own words are kept: in the message after
 * "the host says", and in `fault` for programs. Codes: virErrorNumber of libvirt 9.0 (include/libvirt/virterror.h).
 */
import {
  CallTimeoutError,
  ConnectError,
  type ConnectFailure,
  ConnectionLostError,
  LibvirtError,
  type LoginSubject,
} from "@innkeeper/libvirt";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import { AppError } from "#core/app-error.ts";
import { procedureNeed } from "./version.ts";

interface LibvirtErrorContext {
  /** What was tried, in the user's words, as after "Can't ". */
  readonly what: string;
  /** The caller's signal: when it has aborted, the abort is the caller's and not our deadline. */
  readonly cancelledBy?: AbortSignal;
  readonly deadlineMs?: number;
  /** Of the host, where it was reached. */
  readonly uri?: string | undefined;
}

/** Codes that are not here are host_failed. */
const codeByLibvirtName: Readonly<Record<string, ErrorCode>> = {
  VIR_ERR_NO_SUPPORT: "unsupported",
  VIR_ERR_CONFIG_UNSUPPORTED: "unsupported",
  VIR_ERR_ARGUMENT_UNSUPPORTED: "unsupported",
  VIR_ERR_OPERATION_UNSUPPORTED: "unsupported",
  VIR_ERR_CPU_INCOMPATIBLE: "unsupported",
  VIR_ERR_MIGRATE_UNSAFE: "unsupported",
  VIR_ERR_NO_DOMAIN: "not_found",
  VIR_ERR_NO_NETWORK: "not_found",
  VIR_ERR_NO_STORAGE_POOL: "not_found",
  VIR_ERR_NO_STORAGE_VOL: "not_found",
  VIR_ERR_NO_NODE_DEVICE: "not_found",
  VIR_ERR_NO_SECRET: "not_found",
  VIR_ERR_NO_DOMAIN_SNAPSHOT: "not_found",
  VIR_ERR_NO_DOMAIN_CHECKPOINT: "not_found",
  VIR_ERR_NO_DOMAIN_METADATA: "not_found",
  VIR_ERR_NO_NWFILTER: "not_found",
  VIR_ERR_DEVICE_MISSING: "not_found",
  VIR_ERR_DOM_EXIST: "name_taken",
  VIR_ERR_NETWORK_EXIST: "name_taken",
  VIR_ERR_STORAGE_VOL_EXIST: "name_taken",
  VIR_ERR_STORAGE_POOL_BUILT: "conflict",
  VIR_ERR_RESOURCE_BUSY: "conflict",
  VIR_ERR_BLOCK_COPY_ACTIVE: "conflict",
  VIR_ERR_OPERATION_INVALID: "invalid_state",
  VIR_ERR_INVALID_ARG: "invalid_field",
  VIR_ERR_INVALID_MAC: "invalid_field",
  VIR_ERR_XML_ERROR: "invalid_field",
  VIR_ERR_XML_DETAIL: "invalid_field",
  VIR_ERR_XML_INVALID_SCHEMA: "invalid_field",
  VIR_ERR_OVERFLOW: "invalid_field",
  VIR_ERR_NO_MEMORY: "insufficient_resources",
  VIR_ERR_OPERATION_TIMEOUT: "timeout",
  VIR_ERR_OPERATION_ABORTED: "cancelled",
  VIR_ERR_AGENT_UNRESPONSIVE: "guest_agent_unavailable",
  VIR_ERR_AGENT_UNSYNCED: "guest_agent_unavailable",
  VIR_ERR_AUTH_FAILED: "host_refused",
  VIR_ERR_AUTH_CANCELLED: "host_refused",
  VIR_ERR_AUTH_UNAVAILABLE: "host_refused",
  VIR_ERR_OPERATION_DENIED: "host_refused",
  VIR_ERR_ACCESS_DENIED: "host_refused",
  VIR_ERR_NO_CONNECT: "unsupported", // no such hypervisor driver in the daemon
  VIR_ERR_INVALID_CONN: "host_unreachable",
};

/** libvirt reports some errors under a general code; its words tell them apart (libvirt 9.0, QEMU 7.2). First match wins. */
const codeByWords: readonly { readonly words: RegExp; readonly code: ErrorCode }[] = [
  { words: /no space left on device|disk quota exceeded/i, code: "disk_full" },
  { words: /cannot allocate memory|not enough (free )?memory|insufficient memory/i, code: "insufficient_resources" },
  { words: /guest agent is not (connected|responding|available)/i, code: "guest_agent_unavailable" },
  { words: /(domain|network|pool|storage pool|volume|storage vol(ume)?) .*already exists/i, code: "name_taken" },
  { words: /already (exists|defined) with/i, code: "name_taken" },
  { words: /network is already in use by interface/i, code: "conflict" },
];

/** What helps, where the host's own words leave people alone. */
const remedyByWords: readonly { readonly words: RegExp; readonly remedy: string }[] = [
  {
    // Seen with libvirt 9.0: after its restart it knows nothing of a blockdev-add whose answer it did not get.
    words: /duplicate nodes with node-name/i,
    remedy:
      "A libvirtd that died in mid-call left this file open in the VM's QEMU: shut the VM down and start it again.",
  },
];

/** ENOSPC and EDQUOT of Linux (asm-generic/errno.h): VIR_ERR_SYSTEM_ERROR carries errno in int1. */
const fullErrnos: readonly number[] = [28, 122];

const codeByConnectFailure: Readonly<Record<ConnectFailure, ErrorCode>> = {
  uri: "invalid_field",
  unreachable: "host_unreachable",
  timeout: "host_unreachable",
  certificate: "host_untrusted",
  "host-key": "host_untrusted",
  authentication: "host_refused",
  protocol: "host_refused",
};

/** The field of a host's address (contract HostAdd) that a failed SASL login is about. */
const fieldByLoginSubject: Readonly<Record<LoginSubject, string>> = {
  user: "sasl.userName",
  password: "sasl.password",
  mechanism: "sasl",
};

/** Any error of a libvirt call as an AppError; an AppError stays what it is. */
export function mapLibvirtError(error: unknown, context: LibvirtErrorContext): AppError {
  if (error instanceof AppError) return error;
  const { what, uri } = context;
  const host = uri === undefined ? "the host" : `the host (${uri})`;
  if (error instanceof LibvirtError) {
    const said = error.message.startsWith("unknown procedure")
      ? `it needs another libvirt on the host: ${procedureNeed(error.procedure)}`
      : `the host says: ${error.message}`;
    const remedy = remedyByWords.find(({ words }) => words.test(error.message))?.remedy;
    return new AppError(codeOf(error), `Can't ${what}: ${said}`, {
      cause: error,
      ...(remedy === undefined ? {} : { remedy }),
      fault: { libvirtCode: error.codeName, libvirtMessage: error.message },
    });
  }
  if (context.cancelledBy?.aborted === true) {
    const reason: unknown = context.cancelledBy.reason;
    if (reason instanceof AppError) return reason;
    if (reason instanceof Error && reason.name === "TimeoutError") return tooLong(what, host, undefined, error);
    return new AppError("cancelled", `Can't ${what}: it was cancelled.`, { cause: error });
  }
  if (error instanceof ConnectError) {
    // Whose address it is was said already.
    const reason = error.message.startsWith(`${uri}: `) ? error.message.slice(`${uri}: `.length) : error.message;
    return new AppError(codeByConnectFailure[error.failure], `Can't ${what}: ${reason}`, {
      cause: error,
      ...(error.failure === "uri" ? { field: "uri" } : {}),
      ...(error.subject === undefined ? {} : { field: fieldByLoginSubject[error.subject] }),
    });
  }
  if (error instanceof ConnectionLostError) {
    return new AppError("host_unreachable", `Can't ${what}: the connection to ${host} was lost: ${error.message}`, {
      cause: error,
    });
  }
  if (error instanceof CallTimeoutError) return tooLong(what, host, error.timeoutMs, error);
  if (isAbort(error)) return tooLong(what, host, context.deadlineMs, error);
  return new AppError("internal", `Can't ${what}.`, { cause: error });
}

/** Whether an error of any kind is the host's "there is no such thing". */
export function isNotFound(error: unknown): boolean {
  if (error instanceof AppError) return error.code === "not_found";
  return error instanceof LibvirtError && codeOf(error) === "not_found";
}

/** For `catch`: undefined where the daemon has no such thing any more. */
export function goneIsUndefined(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}

/** Whether libvirt reported this code, e.g. `VIR_ERR_OPERATION_INVALID`. */
export function isLibvirtCode(error: unknown, codeName: string): boolean {
  if (error instanceof LibvirtError) return error.codeName === codeName;
  return error instanceof AppError && error.fault?.["libvirtCode"] === codeName;
}

function codeOf(error: LibvirtError): ErrorCode {
  if (error.codeName === "VIR_ERR_SYSTEM_ERROR" && fullErrnos.includes(error.int1)) return "disk_full";
  const byWords = codeByWords.find((row) => row.words.test(error.message));
  return byWords?.code ?? codeByLibvirtName[error.codeName] ?? "host_failed";
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === "TimeoutError" || error.name === "AbortError");
}

function tooLong(what: string, host: string, deadlineMs: number | undefined, cause: unknown): AppError {
  const within = deadlineMs === undefined ? "in time" : `within ${Math.round(deadlineMs / 1000)} s`;
  return new AppError("timeout", `Can't ${what}: ${host} did not answer ${within}.`, {
    cause,
    remedy: "Look on the host whether it is overloaded or its storage stands still, then try again.",
  });
}

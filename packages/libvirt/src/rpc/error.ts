// Every error of this package that is not a programming mistake (CodecError: a wrong argument).
import { errorCodeNames, errorDomainNames, errorLevelNames } from "#generated/error-name.ts";
import { VIR_ERR_NO_SUPPORT, VIR_ERR_RPC } from "#generated/virterror-constant.ts";
import type { NetMessageError } from "#generated/net-type.ts";

/** What libvirt answered: virError with all its fields and the names of its numbers. */
export class LibvirtError extends Error {
  override readonly name = "LibvirtError";
  readonly code: number;
  /** "VIR_ERR_NO_DOMAIN"; "VIR_ERR_<number>" for a code newer than this package. */
  readonly codeName: string;
  readonly domain: number;
  readonly domainName: string;
  readonly level: number;
  readonly levelName: string;
  readonly str1: string | null;
  readonly str2: string | null;
  readonly str3: string | null;
  readonly int1: number;
  readonly int2: number;
  /** The call that failed, by its API name ("domainCreate"). */
  readonly procedure: string;

  constructor(error: NetMessageError, procedure: string) {
    super(error.message ?? `libvirt reported error ${error.code} without a message`);
    this.code = isUnknownProcedure(error) ? VIR_ERR_NO_SUPPORT : error.code;
    this.codeName = errorCodeNames[this.code] ?? `VIR_ERR_${this.code}`;
    this.domain = error.domain;
    this.domainName = errorDomainNames[error.domain] ?? `VIR_FROM_${error.domain}`;
    this.level = error.level;
    this.levelName = errorLevelNames[error.level] ?? String(error.level);
    this.str1 = error.str1;
    this.str2 = error.str2;
    this.str3 = error.str3;
    this.int1 = error.int1;
    this.int2 = error.int2;
    this.procedure = procedure;
  }
}

/** What a daemon that lacks a procedure answers is "not supported", as in libvirt's own client (virnetclientprogram.c). */
function isUnknownProcedure({ code, message }: NetMessageError): boolean {
  return code === VIR_ERR_RPC && message?.startsWith("unknown procedure") === true;
}

/** closed: close() was called here; the others: the connection broke. */
export type LossReason = "closed" | "disconnected" | "keepalive" | "protocol";

/** The connection is gone. What was pending got this very error; a call may or may not have been carried out. */
export class ConnectionLostError extends Error {
  override readonly name = "ConnectionLostError";
  readonly reason: LossReason;

  constructor(reason: LossReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}

/** One answer that does not fit its procedure's description. The connection lives on. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** No answer within the deadline. The connection lives on; the call may still be carried out. */
export class CallTimeoutError extends Error {
  override readonly name = "CallTimeoutError";
  readonly procedure: string;
  readonly timeoutMs: number;

  constructor(procedure: string, timeoutMs: number) {
    super(`${procedure}: no answer within ${timeoutMs} ms`);
    this.procedure = procedure;
    this.timeoutMs = timeoutMs;
  }
}

/**
 * uri: not a libvirt URI; unreachable: no such host, port or socket, or refused; timeout; certificate: the server's is
 * not trusted or names another host, or the server refused ours; host-key: unknown or changed SSH host key;
 * authentication: the server wants credentials we lack or refuses them; protocol: not a libvirt daemon, or too old.
 */
export type ConnectFailure =
  | "uri"
  | "unreachable"
  | "timeout"
  | "certificate"
  | "host-key"
  | "authentication"
  | "protocol";

/** What of a login was wrong or missing; mechanism: client and daemon have none in common. */
export type LoginSubject = "user" | "password" | "mechanism";

/** A connection could not be made. (An error of the opened driver itself, say an unknown path, is a LibvirtError.) */
export class ConnectError extends Error {
  override readonly name = "ConnectError";
  readonly failure: ConnectFailure;
  /** With failure "authentication", where it is known. */
  readonly subject: LoginSubject | undefined;

  constructor(failure: ConnectFailure, message: string, cause?: unknown, subject?: LoginSubject) {
    super(message, cause === undefined ? undefined : { cause });
    this.failure = failure;
    this.subject = subject;
  }
}

/** The procedure needs something that this client cannot do: passing file descriptors over the socket. */
export class UnsupportedError extends Error {
  override readonly name = "UnsupportedError";
}

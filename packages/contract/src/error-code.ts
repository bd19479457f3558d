/**
 * The one table of error codes: what each means on every surface. A code is part of the API; it is never renamed.
 * `httpStatus` RFC 9110; `soapFault` vSphere Web Services API; `exitCode` of the CLI (sysexits.h where one fits).
 */
interface ErrorCodeRow {
  readonly httpStatus: number;
  readonly soapFault: string;
  readonly exitCode: number;
  /** The same request may succeed later without any change to it. */
  readonly retryable: boolean;
  /** What it is, in a few words; the problem's `title`. */
  readonly title: string;
  /** What the operator does about it. */
  readonly remedy: string;
}

export const errorCode = {
  bad_request: {
    httpStatus: 400,
    soapFault: "InvalidRequest",
    exitCode: 64,
    retryable: false,
    title: "The request is not understood",
    remedy: "Correct the request as the detail says.",
  },
  invalid_field: {
    httpStatus: 422,
    soapFault: "InvalidArgument",
    exitCode: 65,
    retryable: false,
    title: "A field has a value that can't be used",
    remedy: "Correct the named field.",
  },
  unauthenticated: {
    httpStatus: 401,
    soapFault: "NotAuthenticated",
    exitCode: 77,
    retryable: false,
    title: "Not logged in",
    remedy: "Log in with `inn login`, or give a valid API token.",
  },
  wrong_credentials: {
    httpStatus: 401,
    soapFault: "InvalidLogin",
    exitCode: 77,
    retryable: false,
    title: "Wrong user name or password",
    remedy: "Check name and password.",
  },
  too_many_attempts: {
    httpStatus: 429,
    soapFault: "InvalidLogin",
    exitCode: 75,
    retryable: true,
    title: "Too many attempts",
    remedy: "Wait as long as Retry-After says.",
  },
  forbidden: {
    httpStatus: 403,
    soapFault: "NoPermission",
    exitCode: 77,
    retryable: false,
    title: "The privilege is missing",
    remedy: "Ask an administrator for a role with the named privilege.",
  },
  not_found: {
    httpStatus: 404,
    soapFault: "ManagedObjectNotFound",
    exitCode: 66,
    retryable: false,
    title: "There is no such thing",
    remedy: "List what exists and check name or id.",
  },
  name_taken: {
    httpStatus: 409,
    soapFault: "DuplicateName",
    exitCode: 73,
    retryable: false,
    title: "The name is taken",
    remedy: "Choose another name.",
  },
  conflict: {
    httpStatus: 409,
    soapFault: "InvalidState",
    exitCode: 69,
    retryable: false,
    title: "It conflicts with something that exists",
    remedy: "Resolve what the detail names.",
  },
  invalid_state: {
    httpStatus: 409,
    soapFault: "InvalidState",
    exitCode: 69,
    retryable: false,
    title: "Not possible in this state",
    remedy: "Bring it to a state in which the action is possible.",
  },
  precondition_failed: {
    httpStatus: 412,
    soapFault: "ConcurrentAccess",
    exitCode: 75,
    retryable: false,
    title: "It was changed by someone else",
    remedy: "Read it again and decide anew.",
  },
  too_large: {
    httpStatus: 413,
    soapFault: "InvalidRequest",
    exitCode: 65,
    retryable: false,
    title: "The request is too large",
    remedy: "Send less.",
  },
  unsupported: {
    httpStatus: 422,
    soapFault: "NotSupported",
    exitCode: 69,
    retryable: false,
    title: "Not supported here",
    remedy: "See the detail for what is missing and what can be done instead.",
  },
  insufficient_resources: {
    httpStatus: 409,
    soapFault: "InsufficientResourcesFault",
    exitCode: 69,
    retryable: true,
    title: "Not enough resources",
    remedy: "Free resources or ask for less.",
  },
  host_unreachable: {
    httpStatus: 502,
    soapFault: "HostNotReachable",
    exitCode: 69,
    retryable: true,
    title: "The host can't be reached",
    remedy: "Check the host's power, network and libvirt daemon.",
  },
  host_untrusted: {
    httpStatus: 502,
    soapFault: "SSLVerifyFault",
    exitCode: 76,
    retryable: false,
    title: "The host's certificate or key is not trusted",
    remedy: "Check that it is the right host, then trust its certificate authority or key.",
  },
  host_refused: {
    httpStatus: 502,
    soapFault: "HostConnectFault",
    exitCode: 77,
    retryable: false,
    title: "The host refused the connection",
    remedy: "Check the credentials and the daemon's access settings on the host.",
  },
  host_failed: {
    httpStatus: 502,
    soapFault: "PlatformConfigFault",
    exitCode: 70,
    retryable: false,
    title: "The host could not do it",
    remedy: "The detail holds the host's own words.",
  },
  guest_agent_unavailable: {
    httpStatus: 409,
    soapFault: "ToolsUnavailable",
    exitCode: 69,
    retryable: true,
    title: "The guest agent does not answer",
    remedy: "Install and start qemu-guest-agent in the guest.",
  },
  disk_full: {
    httpStatus: 507,
    soapFault: "NoDiskSpace",
    exitCode: 74,
    retryable: true,
    title: "No space left",
    remedy: "Free space on the named file system or pool.",
  },
  timeout: {
    httpStatus: 504,
    soapFault: "Timedout",
    exitCode: 75,
    retryable: true,
    title: "It took too long",
    remedy: "Look whether the host is overloaded, then try again.",
  },
  cancelled: {
    httpStatus: 409,
    soapFault: "RequestCanceled",
    exitCode: 130,
    retryable: false,
    title: "It was cancelled",
    remedy: "Nothing: what had been done was undone.",
  },
  store_unavailable: {
    httpStatus: 503,
    soapFault: "HostCommunication",
    exitCode: 75,
    retryable: true,
    title: "The store can't be written",
    remedy: "Check the disk or database of the control plane.",
  },
  shutting_down: {
    httpStatus: 503,
    soapFault: "HostCommunication",
    exitCode: 75,
    retryable: true,
    title: "The control plane is stopping",
    remedy: "Try again when it is up.",
  },
  internal: {
    httpStatus: 500,
    soapFault: "RuntimeFault",
    exitCode: 70,
    retryable: false,
    title: "Internal error",
    remedy: "Report it with the request id; the server's log has the details.",
  },
} as const satisfies Record<string, ErrorCodeRow>;

export type ErrorCode = keyof typeof errorCode;

/** Every error code, in the order of the table. */
export const errorCodes = Object.keys(errorCode) as ErrorCode[];

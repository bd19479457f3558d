import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CallTimeoutError,
  ConnectError,
  type ConnectFailure,
  ConnectionLostError,
  LibvirtError,
  type LoginSubject,
} from "@innkeeper/libvirt";
import { errorCodeNames } from "@innkeeper/libvirt/generated/error-name.ts";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import { AppError } from "#core/app-error.ts";
import { isLibvirtCode, isNotFound, mapLibvirtError } from "./error.ts";
import { procedureNeed } from "./version.ts";

const what = "start VM web1";

function libvirtError(codeName: string, message: string, int1 = 0): LibvirtError {
  const code = Number(Object.entries(errorCodeNames).find(([, name]) => name === codeName)?.[0]);
  assert.ok(Number.isInteger(code), codeName);
  const parts = { domain: 10, level: 2, str1: null, str2: null, str3: null, dom: null, net: null };
  return new LibvirtError({ ...parts, code, message, int1, int2: 0 }, "domainCreate");
}

test("where the host's words leave people alone, the error says what helps", () => {
  const words =
    "internal error: unable to execute QEMU command 'blockdev-add': Duplicate nodes with node-name='libvirt-3-storage'";
  const { code, remedy } = mapLibvirtError(libvirtError("VIR_ERR_INTERNAL_ERROR", words), { what });
  assert.equal(code, "host_failed");
  assert.match(remedy ?? "", /shut the VM down and start it again/);
});

test("libvirt's codes and words map as the table says, and the host's words are kept", () => {
  const rows: [codeName: string, message: string, wanted: ErrorCode][] = [
    ["VIR_ERR_NO_DOMAIN", "Domain not found", "not_found"],
    ["VIR_ERR_NO_STORAGE_POOL", "Storage pool not found", "not_found"],
    ["VIR_ERR_NO_STORAGE_VOL", "Storage volume not found", "not_found"],
    ["VIR_ERR_NO_NETWORK", "Network not found", "not_found"],
    ["VIR_ERR_DOM_EXIST", "domain 'a' already exists with uuid …", "name_taken"],
    ["VIR_ERR_OPERATION_FAILED", "operation failed: domain 'a' already exists with uuid …", "name_taken"],
    ["VIR_ERR_OPERATION_FAILED", "operation failed: pool 'p' already exists with uuid …", "name_taken"],
    ["VIR_ERR_STORAGE_VOL_EXIST", "storage volume 'v' exists already", "name_taken"],
    ["VIR_ERR_OPERATION_INVALID", "Requested operation is not valid: domain is not running", "invalid_state"],
    ["VIR_ERR_OPERATION_TIMEOUT", "cannot acquire state change lock", "timeout"],
    ["VIR_ERR_OPERATION_ABORTED", "migration out job: canceled by client", "cancelled"],
    ["VIR_ERR_AGENT_UNRESPONSIVE", "Guest agent is not responding", "guest_agent_unavailable"],
    ["VIR_ERR_ARGUMENT_UNSUPPORTED", "QEMU guest agent is not connected", "guest_agent_unavailable"],
    ["VIR_ERR_CONFIG_UNSUPPORTED", "unsupported configuration: …", "unsupported"],
    ["VIR_ERR_MIGRATE_UNSAFE", "Unsafe migration", "unsupported"],
    ["VIR_ERR_XML_ERROR", "XML error: …", "invalid_field"],
    ["VIR_ERR_NO_MEMORY", "out of memory", "insufficient_resources"],
    ["VIR_ERR_INTERNAL_ERROR", "qemu: cannot set up guest memory: Cannot allocate memory", "insufficient_resources"],
    ["VIR_ERR_INTERNAL_ERROR", "cannot extend file 'x': No space left on device", "disk_full"],
    ["VIR_ERR_AUTH_FAILED", "authentication failed", "host_refused"],
    ["VIR_ERR_ACCESS_DENIED", "access denied", "host_refused"],
    ["VIR_ERR_INTERNAL_ERROR", "internal error: Network is already in use by interface br0", "conflict"],
    ["VIR_ERR_INTERNAL_ERROR", "internal error: process exited while connecting to monitor", "host_failed"],
  ];
  for (const [codeName, message, wanted] of rows) {
    const mapped = mapLibvirtError(libvirtError(codeName, message), { what });
    assert.equal(mapped.code, wanted, `${codeName}: ${message}`);
    assert.equal(mapped.message, `Can't start VM web1: the host says: ${message}`);
    assert.deepEqual(mapped.fault, { libvirtCode: codeName, libvirtMessage: message });
  }
});

test("errno of a system error tells a full disk", () => {
  for (const errno of [28, 122]) {
    assert.equal(
      mapLibvirtError(libvirtError("VIR_ERR_SYSTEM_ERROR", "cannot write", errno), { what }).code,
      "disk_full",
    );
  }
  assert.equal(mapLibvirtError(libvirtError("VIR_ERR_SYSTEM_ERROR", "cannot open", 2), { what }).code, "host_failed");
});

test("failures to connect, losses, deadlines and cancellations", () => {
  const failures: [ConnectFailure, ErrorCode][] = [
    ["uri", "invalid_field"],
    ["unreachable", "host_unreachable"],
    ["timeout", "host_unreachable"],
    ["certificate", "host_untrusted"],
    ["host-key", "host_untrusted"],
    ["authentication", "host_refused"],
    ["protocol", "host_refused"],
  ];
  for (const [failure, wanted] of failures) {
    assert.equal(mapLibvirtError(new ConnectError(failure, "words"), { what }).code, wanted, failure);
  }
  assert.equal(mapLibvirtError(new ConnectionLostError("keepalive", "silent"), { what }).code, "host_unreachable");
  assert.equal(mapLibvirtError(new CallTimeoutError("domainCreate", 5000), { what }).code, "timeout");
  assert.equal(mapLibvirtError(new DOMException("late", "TimeoutError"), { what, deadlineMs: 5000 }).code, "timeout");
  const cancelled = mapLibvirtError(new DOMException("stop", "AbortError"), { what, cancelledBy: AbortSignal.abort() });
  assert.equal(cancelled.code, "cancelled");
  const ours = new AppError("shutting_down", "bye");
  assert.equal(mapLibvirtError(new Error("x"), { what, cancelledBy: AbortSignal.abort(ours) }), ours);
  assert.equal(mapLibvirtError(ours, { what }), ours);
  assert.equal(mapLibvirtError(new TypeError("bug"), { what }).code, "internal");
});

test("what a driver asks of an error holds before and after it was mapped", () => {
  const gone = libvirtError("VIR_ERR_NO_DOMAIN", "Domain not found");
  const busy = libvirtError("VIR_ERR_OPERATION_INVALID", "busy");
  assert.ok(isNotFound(gone) && isNotFound(mapLibvirtError(gone, { what })));
  assert.ok(!isNotFound(busy));
  assert.ok(isLibvirtCode(busy, "VIR_ERR_OPERATION_INVALID"));
  assert.ok(isLibvirtCode(mapLibvirtError(busy, { what }), "VIR_ERR_OPERATION_INVALID"));
});

test("a procedure that the daemon lacks is not supported, and what has it is named", () => {
  const { code, message } = mapLibvirtError(libvirtError("VIR_ERR_RPC", "unknown procedure: 432"), { what });
  assert.equal(code, "unsupported");
  assert.match(message, /another libvirt on the host: one that has domainCreate$/);
  assert.equal(procedureNeed("domainAbortJobFlags"), "8.5.0 or newer, which has domainAbortJobFlags");
});

test("a code that is newer than this client is the host's failure, in its own words", () => {
  const error = new LibvirtError(
    {
      code: 250,
      domain: 250,
      message: "the future",
      level: 2,
      str1: null,
      str2: null,
      str3: null,
      dom: null,
      net: null,
      int1: 0,
      int2: 0,
    },
    "domainCreate",
  );
  const { code, message, fault } = mapLibvirtError(error, { what });
  assert.equal(code, "host_failed");
  assert.match(message, /the host says: the future$/);
  assert.deepEqual(fault, { libvirtCode: "VIR_ERR_250", libvirtMessage: "the future" });
});

test("a failed login names the field that is wrong", () => {
  const rows: [LoginSubject | undefined, string | undefined][] = [
    ["user", "sasl.userName"],
    ["password", "sasl.password"],
    ["mechanism", "sasl"],
    [undefined, undefined],
  ];
  for (const [subject, field] of rows) {
    const error = mapLibvirtError(new ConnectError("authentication", "no", undefined, subject), { what });
    assert.deepEqual([error.code, error.field], ["host_refused", field]);
  }
});

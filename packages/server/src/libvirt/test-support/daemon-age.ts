/**
 * A real daemon made older or newer by a proxy, as far as its clients can tell. Older: procedures and flags that came
 * later are refused in the very words of a daemon that does not have them. Newer: another version, events, parameters
 * and states that nobody here knows.
 * Facts: libvirt 9.0 src/rpc/virnetserverprogram.c ("unknown procedure"), src/internal.h virCheckFlags ("unsupported
 * flags"), src/libvirt_internal.h (features; NETWORK_UPDATE_HAS_CORRECT_ORDER came with 7.2).
 */
import * as libvirt from "@innkeeper/libvirt";
import { decode } from "@innkeeper/libvirt/codec/decode.ts";
import { encode } from "@innkeeper/libvirt/codec/encode.ts";
import { XdrReader } from "@innkeeper/libvirt/codec/xdr-reader.ts";
import { XdrWriter } from "@innkeeper/libvirt/codec/xdr-writer.ts";
import type { Message } from "@innkeeper/libvirt/framing/message.ts";
import {
  VIR_NET_CALL,
  VIR_NET_ERROR,
  VIR_NET_MESSAGE,
  VIR_NET_OK,
  VIR_NET_REPLY,
} from "@innkeeper/libvirt/generated/protocol-constant.ts";
import { remoteProgram } from "@innkeeper/libvirt/generated/remote-procedure.ts";
import { schema } from "@innkeeper/libvirt/rpc/protocol.ts";
import type { MessageTap } from "@innkeeper/libvirt/testing/proxy.ts";

const names = new Map(Object.entries(remoteProgram.procedures).map(([name, [number]]) => [number, name]));
const lastFeatureOf70 = 15; // VIR_DRV_FEATURE_REMOTE_CLOSE_CALLBACK
const answerMax = 33_554_432;

function nameOf(message: Message): string {
  return message.program === remoteProgram.number ? (names.get(message.procedure) ?? "") : "";
}

function read(struct: string | null | undefined, payload: Buffer): Record<string, unknown> {
  if (struct === null || struct === undefined) return {};
  return decode(new XdrReader(payload), schema.type(struct)) as Record<string, unknown>;
}

function write(struct: string, value: unknown): Buffer {
  const writer = new XdrWriter(answerMax);
  encode(writer, schema.type(struct), value);
  return writer.written();
}

function refusal(call: Message, code: number, domain: number, message: string): Message {
  const rest = { level: 2, dom: null, str1: null, str2: null, str3: null, int1: 0, int2: 0, net: null };
  const payload = write("NetMessageError", { code, domain, message, ...rest });
  return { ...call, type: VIR_NET_REPLY, status: VIR_NET_ERROR, payload };
}

/** Bits of a call's `flags` that its oldest daemons refuse, from the names of the constants that came later. */
function laterFlags(procedure: string): number {
  const families: Readonly<Record<string, string>> = {
    domainUndefineFlags: "VIR_DOMAIN_UNDEFINE_",
    domainCreateWithFlags: "VIR_DOMAIN_START_",
    domainCreateXml: "VIR_DOMAIN_START_",
    domainDestroyFlags: "VIR_DOMAIN_DESTROY_",
    domainRestoreFlags: "VIR_DOMAIN_SAVE_RESET_",
    domainRevertToSnapshot: "VIR_DOMAIN_SNAPSHOT_REVERT_",
    domainMigratePerform3Params: "VIR_MIGRATE_",
    storageVolCreateXml: "VIR_STORAGE_VOL_CREATE_",
    storagePoolDefineXml: "VIR_STORAGE_POOL_DEFINE_",
  };
  const family = families[procedure];
  if (family === undefined) return 0;
  const later = Object.keys(libvirt.constantSince).filter((name) => name.startsWith(family));
  return later.reduce((bits, name) => bits | Number(Reflect.get(libvirt, name)), 0);
}

export interface AgeLog {
  /** What was refused, as `procedure` or `procedure flags`. */
  readonly refused: string[];
}

/** A daemon of this version: 7.0 when it is not even older. */
export function oldDaemon(libVer: bigint, log: AgeLog): MessageTap {
  return {
    call(message) {
      const name = nameOf(message);
      if (message.type !== VIR_NET_CALL || name === "") return undefined;
      if (name in libvirt.procedureSince) {
        log.refused.push(name);
        return refusal(message, libvirt.VIR_ERR_RPC, libvirt.VIR_FROM_RPC, `unknown procedure: ${message.procedure}`);
      }
      const args = read(remoteProgram.procedures[name]?.[1], message.payload);
      if (name === "connectSupportsFeature" && Number(args["feature"]) > lastFeatureOf70) {
        const payload = write("ConnectSupportsFeatureRet", { supported: 0 });
        return { ...message, type: VIR_NET_REPLY, status: VIR_NET_OK, payload };
      }
      if (name === "domainDefineXmlFlags" && /<firmware>/u.test(String(args["xml"]))) {
        log.refused.push(`${name} firmware`);
        const words = "XML document failed to validate against schema: Extra element os in interleave";
        return refusal(message, libvirt.VIR_ERR_XML_INVALID_SCHEMA, libvirt.VIR_FROM_DOMAIN, words);
      }
      const unknown = Number(args["flags"] ?? 0) & laterFlags(name);
      if (unknown === 0) return undefined;
      log.refused.push(`${name} flags`);
      const words = `unsupported flags (0x${unknown.toString(16)}) in function qemu${name}`;
      return refusal(message, libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_FROM_QEMU, words);
    },
    answer: (message) => [versioned(message, libVer)],
  };
}

function versioned(message: Message, libVer: bigint): Message {
  if (message.type !== VIR_NET_REPLY || message.status !== VIR_NET_OK || nameOf(message) !== "connectGetLibVersion")
    return message;
  return { ...message, payload: write("ConnectGetLibVersionRet", { libVer }) };
}

/** VMs of this name are in a state that nobody knows, for a reason that nobody knows. */
export const futureName = "future";
const futureState = 42;
/** More than any list of ours may hold (REMOTE_DOMAIN_… limits are 16 to 2,048). */
const manyParameters = 5_000;

/** A daemon of libvirt 12 that has gone its way. */
export function newDaemon(): MessageTap {
  const libVer = 12_000_000n;
  return {
    answer(message) {
      if (message.program !== remoteProgram.number || message.type !== VIR_NET_REPLY) return [message];
      const altered = alter(message, libVer);
      // With each answer something that nobody asked for: an event of an unknown procedure, one of a known with a new case.
      return [unknownEvent(message), altered];
    },
  };
}

function unknownEvent(message: Message): Message {
  return {
    ...message,
    procedure: 9_999,
    type: VIR_NET_MESSAGE,
    serial: 0,
    status: VIR_NET_OK,
    payload: Buffer.alloc(16),
  };
}

function alter(message: Message, libVer: bigint): Message {
  if (message.status === VIR_NET_ERROR) return message;
  const name = nameOf(message);
  const struct = remoteProgram.procedures[name]?.[2];
  const change = struct === null || struct === undefined ? undefined : changes[name];
  if (struct === null || struct === undefined || change === undefined) return versioned(message, libVer);
  return { ...message, payload: write(struct, change(read(struct, message.payload))) };
}

type Answer = Record<string, unknown>;

/** What a newer daemon tells beyond what is known, by procedure. */
const changes: Readonly<Record<string, (answer: Answer) => Answer>> = {
  connectGetAllDomainStats(answer) {
    const stats = answer["retStats"] as readonly { dom: { name: string }; params: Record<string, unknown> }[];
    const more = Object.fromEntries(
      Array.from({ length: manyParameters }, (_, index) => [`future.${index}.count`, BigInt(index)]),
    );
    const state = { "state.state": futureState, "state.reason": futureState };
    return {
      ...answer,
      retStats: stats.map(({ dom, params }) => ({
        dom,
        params: { ...params, ...more, ...(dom.name === futureName ? state : {}) },
      })),
    };
  },
  storageVolGetInfo: (answer) => ({ ...answer, type: futureState }),
  domainGetJobInfo: (answer) => (answer["type"] === 0 ? answer : { ...answer, type: futureState }),
  nodeGetMemoryStats(answer) {
    const params = answer["params"] as readonly unknown[];
    return { ...answer, params: [...params, { field: "future", value: 1n }], nparams: params.length + 1 };
  },
};

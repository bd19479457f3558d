// What a noun's procedures look like: one function per procedure of libvirt's tables, typed by them. Tables are constants
// shared by all hosts; the host comes as an argument.
import type { TypedParameterInput, TypedParameters } from "@innkeeper/libvirt/codec/typed-parameter.ts";
import type { QemuCalls } from "@innkeeper/libvirt/generated/qemu-procedure.ts";
import type { RemoteCalls, RemoteStreams } from "@innkeeper/libvirt/generated/remote-procedure.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { ServerStream } from "./server-stream.ts";
import type { Session } from "./session.ts";

/** A result as it may be written: where the reader gets plain parameters, the writer may name their type. */
export type Answer<Ret> = Ret extends Uint8Array
  ? Ret
  : Ret extends TypedParameters
    ? TypedParameterInput
    : Ret extends readonly (infer Element)[]
      ? readonly Answer<Element>[]
      : Ret extends object
        ? { readonly [Key in keyof Ret]: Answer<Ret[Key]> }
        : Ret;

/** Arguments as they arrive: what a caller may leave out stands there. */
type Received<Args> = Args extends object
  ? { [Key in keyof Required<Args>]: TypedParameterInput extends Args[Key] ? TypedParameters : Required<Args>[Key] }
  : Args;

type HandlersOf<Table extends object> = {
  readonly [Name in keyof Table]?: Table[Name] extends [infer Args, infer Ret]
    ? (host: SimHost, args: Received<Args>, session: Session) => Answer<Ret> | Promise<Answer<Ret>>
    : never;
};

/**
 * What a call that opens a stream resolves with: its answer, and what then happens on the stream. When `run` resolves, the
 * stream ends well; what it throws ends the stream with that error.
 */
export interface Opened<Ret> {
  readonly result: Answer<Ret>;
  readonly run: (stream: ServerStream) => Promise<void>;
}

type StreamHandlers = {
  readonly [Name in keyof RemoteStreams]?: RemoteStreams[Name] extends [infer Args, infer Ret]
    ? (host: SimHost, args: Received<Args>, session: Session) => Opened<Ret> | Promise<Opened<Ret>>
    : never;
};

/** The procedures of one noun. What a handler throws (SimError) is the caller's answer. */
export interface Procedures {
  readonly remote?: HandlersOf<RemoteCalls>;
  readonly qemu?: HandlersOf<QemuCalls>;
  readonly streams?: StreamHandlers;
}

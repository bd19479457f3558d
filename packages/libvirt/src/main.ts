// The package's public face.
export { connect } from "./connection/connect.ts";
export type { ConnectOptions } from "./connection/connect.ts";
export { Connection } from "./connection/connection.ts";
export type { OpenStream, StreamOptions } from "./connection/connection.ts";
export type { Calls, NoArguments } from "./connection/call.ts";
export type { SaslOptions } from "./connection/sasl-login.ts";
export { EventSource } from "./connection/event-source.ts";
export type { EventOf, EventOptions } from "./connection/event-source.ts";
export { EventOverflowError, EventSubscription } from "./connection/event-subscription.ts";
export { Hole } from "./connection/stream.ts";
export type { StreamChunk } from "./connection/stream.ts";
export type { CallOptions } from "./rpc/pending-call.ts";
export type { KeepaliveOptions } from "./rpc/keepalive.ts";
export {
  CallTimeoutError,
  ConnectError,
  ConnectionLostError,
  LibvirtError,
  ProtocolError,
  UnsupportedError,
} from "./rpc/error.ts";
export type { ConnectFailure, LoginSubject, LossReason } from "./rpc/error.ts";
export { CodecError } from "./codec/codec-error.ts";
export { TypedValue, typed } from "./codec/typed-parameter.ts";
export type {
  TypedParameterInput,
  TypedParameterScalar,
  TypedParameters,
  TypedParameterValue,
} from "./codec/typed-parameter.ts";
export type { TypedParameterType } from "./codec/typed-parameter-type.ts";
export type { SshOptions } from "./transport/ssh-credential.ts";
export type { TlsOptions } from "./transport/tls.ts";
export { parseUri } from "./transport/uri.ts";
export type { ConnectionUri, TransportName } from "./transport/uri.ts";

export { errorCodeNames, errorDomainNames, errorLevelNames } from "./generated/error-name.ts";
export type {
  DomainEvents,
  NetworkEvents,
  NodeDeviceEvents,
  SecretEvents,
  StoragePoolEvents,
} from "./generated/event.ts";
export { constantSince, procedureSince, sinceBase } from "./generated/since.ts";
export type { LxcCalls } from "./generated/lxc-procedure.ts";
export type { QemuCalls } from "./generated/qemu-procedure.ts";
export type { RemoteCalls, RemoteStreams } from "./generated/remote-procedure.ts";
export type * from "./generated/lxc-type.ts";
export type * from "./generated/qemu-type.ts";
export type * from "./generated/remote-type.ts";
export * from "./generated/common-constant.ts";
export * from "./generated/domain-checkpoint-constant.ts";
export * from "./generated/domain-constant.ts";
export * from "./generated/domain-snapshot-constant.ts";
export * from "./generated/event-constant.ts";
export * from "./generated/host-constant.ts";
export * from "./generated/interface-constant.ts";
export * from "./generated/internal-constant.ts";
export * from "./generated/network-constant.ts";
export * from "./generated/nodedev-constant.ts";
export * from "./generated/nwfilter-constant.ts";
export * from "./generated/qemu-constant.ts";
export * from "./generated/secret-constant.ts";
export * from "./generated/storage-constant.ts";
export * from "./generated/stream-constant.ts";
export * from "./generated/virterror-constant.ts";

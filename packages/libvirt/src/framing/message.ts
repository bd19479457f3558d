// The frame of every message: a length word, then virNetMessageHeader, then the payload (virnetprotocol.x).
import { CodecError } from "#codec/codec-error.ts";
import {
  VIR_NET_MESSAGE_HEADER_MAX,
  VIR_NET_MESSAGE_LEN_MAX,
  VIR_NET_MESSAGE_MAX,
} from "#generated/protocol-constant.ts";

/** Bytes before the payload: the length word and the header. */
export const HEADER_SIZE = VIR_NET_MESSAGE_LEN_MAX + VIR_NET_MESSAGE_HEADER_MAX;
/** Largest frame, the length word included (VIR_NET_MESSAGE_MAX does not count it). */
export const FRAME_MAX = VIR_NET_MESSAGE_MAX + VIR_NET_MESSAGE_LEN_MAX;

export interface MessageHeader {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  /** VIR_NET_CALL, VIR_NET_REPLY, … */
  readonly type: number;
  readonly serial: number;
  /** VIR_NET_OK, VIR_NET_ERROR, VIR_NET_CONTINUE */
  readonly status: number;
}

export interface Message extends MessageHeader {
  /** A view into the receive buffer: to be decoded or copied before it is kept. */
  readonly payload: Buffer;
}

/** Fills the length word and the header of a frame whose payload stands at HEADER_SIZE. */
export function writeHeader(frame: Buffer, header: MessageHeader, size: number = frame.byteLength): void {
  if (size > FRAME_MAX) throw new CodecError(`message of ${size} bytes exceeds the limit of ${FRAME_MAX}`);
  frame.writeUInt32BE(size, 0);
  frame.writeUInt32BE(header.program, 4);
  frame.writeUInt32BE(header.version, 8);
  frame.writeInt32BE(header.procedure, 12);
  frame.writeInt32BE(header.type, 16);
  frame.writeUInt32BE(header.serial, 20);
  frame.writeInt32BE(header.status, 24);
}

/** A whole frame around a payload that exists already. */
export function frameOf(header: MessageHeader, payload: Uint8Array = new Uint8Array()): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_SIZE + payload.byteLength);
  frame.set(payload, HEADER_SIZE);
  writeHeader(frame, header);
  return frame;
}

export function readMessage(frame: Buffer): Message {
  return {
    program: frame.readUInt32BE(4),
    version: frame.readUInt32BE(8),
    procedure: frame.readInt32BE(12),
    type: frame.readInt32BE(16),
    serial: frame.readUInt32BE(20),
    status: frame.readInt32BE(24),
    payload: frame.subarray(HEADER_SIZE),
  };
}

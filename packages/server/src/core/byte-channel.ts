/** A two-way byte stream: a console, as the virtualization layer hands one out. The signal of the call that opened it ends it. */
export interface ByteChannel {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

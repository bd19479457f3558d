/** The begin of a stream, looked at before anything is done with it, and the whole stream again. */

interface Headed {
  readonly head: Uint8Array;
  /** All of it, the head included. */
  readonly content: ReadableStream<Uint8Array>;
}

/** Reads until `headBytes` are there or the stream ends. Whoever does not read `content` must cancel it. */
export async function withHead(source: ReadableStream<Uint8Array>, headBytes: number): Promise<Headed> {
  const reader = source.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (length < headBytes) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    length += value.byteLength;
  }
  let next = 0;
  const content = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const kept = chunks[next++];
        if (kept !== undefined) {
          controller.enqueue(kept);
          return;
        }
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
  return { head: Buffer.concat(chunks).subarray(0, headBytes), content };
}

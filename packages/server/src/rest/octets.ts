/** Bodies that are not JSON: streamed with back pressure, and exactly as long as was said. */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import type { FastifyReply, FastifyRequest } from "fastify";
import { AppError } from "#core/app-error.ts";
import type { Octets } from "#rest/service.ts";

export function contentLength(request: FastifyRequest): number {
  const text = request.headers["content-length"];
  if (text !== undefined && /^\d{1,15}$/.test(text)) return Number(text);
  throw new AppError("bad_request", "An upload must say its length in Content-Length.", { field: "Content-Length" });
}

/** Hands the request's body to `work`; an error if it is longer or shorter than `sizeBytes`. */
export async function receive<T>(
  request: FastifyRequest,
  sizeBytes: number,
  work: (content: Octets) => Promise<T>,
): Promise<T> {
  const declared = request.headers["content-length"];
  if (declared !== undefined && Number(declared) !== sizeBytes) throw wrongLength(sizeBytes, Number(declared));
  const body = request.body instanceof Readable ? request.body : Readable.from([]);
  let received = 0;
  const counted = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      received += chunk.byteLength;
      if (received > sizeBytes) controller.error(wrongLength(sizeBytes, received));
      else controller.enqueue(chunk);
    },
    flush(controller) {
      if (received < sizeBytes) controller.error(wrongLength(sizeBytes, received));
    },
  });
  const content = (Readable.toWeb(body) as Octets).pipeThrough(counted);
  try {
    return await work(content);
  } catch (error) {
    // The rest of a refused body is not waited for.
    body.destroy();
    throw error;
  }
}

function wrongLength(expected: number, actual: number): AppError {
  return new AppError(
    "bad_request",
    `The body has ${actual > expected ? "more than the" : `${actual} instead of`} ${expected} bytes that were announced.`,
    { field: "sizeBytes" },
  );
}

/** Sends a stream as the answer; an error in the middle breaks the connection, for the length was announced. */
export async function sendOctets(reply: FastifyReply, content: Octets, sizeBytes: number): Promise<void> {
  reply.hijack();
  const { raw } = reply;
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value);
  raw.writeHead(200, { "content-type": "application/octet-stream", "content-length": sizeBytes });
  try {
    await pipeline(Readable.fromWeb(content as NodeReadableStream<Uint8Array>), raw);
  } catch {
    raw.destroy();
  }
}

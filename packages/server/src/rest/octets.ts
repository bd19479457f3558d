/** Bodies that are not JSON: streamed with back pressure, and exactly as long as was said. */
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import type { FastifyReply, FastifyRequest } from "fastify";
import { AppError } from "#core/app-error.ts";
import { audit } from "#rest/audit.ts";
import type { Octets, RestServices } from "#rest/service.ts";

export function contentLength(request: FastifyRequest): number {
  const text = request.headers["content-length"];
  if (text !== undefined && /^\d{1,15}$/.test(text)) return Number(text);
  throw new AppError("bad_request", "An upload must say its length in Content-Length.", { field: "Content-Length" });
}

/**
 * So long the rest of a refused body is taken in and thrown away, so that the client can read why it was refused. Not with
 * `Connection: close`: Node then ends the connection with the answer, and a client that still sends may not get to read it.
 */
const lingerMs = 2000;

/** Hands the request's body to `work`; an error if it is longer or shorter than `sizeBytes`. */
export async function receive<T>(
  { request }: { readonly request: FastifyRequest },
  sizeBytes: number,
  work: (content: Octets) => Promise<T>,
): Promise<T> {
  const declared = request.headers["content-length"];
  const body = request.body instanceof Readable ? request.body : Readable.from([]);
  try {
    if (declared !== undefined && Number(declared) !== sizeBytes) throw wrongLength(sizeBytes, Number(declared));
    return await work(exactly(body, sizeBytes));
  } catch (error) {
    if (!body.readableEnded) {
      body.resume();
      const timer = setTimeout(() => request.raw.destroy(), lingerMs);
      body.once("close", () => clearTimeout(timer));
    }
    throw error;
  }
}

/** The stream's chunks on demand. Cancelling it leaves the request open: its answer is still to be sent. */
function exactly(body: Readable, sizeBytes: number): Octets {
  const chunks = body.iterator({ destroyOnReturn: false }) as AsyncIterator<Uint8Array>;
  let received = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await next(chunks, received);
      if (done === true) {
        if (received < sizeBytes) throw wrongLength(sizeBytes, received);
        return controller.close();
      }
      received += value.byteLength;
      if (received > sizeBytes) throw wrongLength(sizeBytes, received);
      controller.enqueue(value);
    },
    async cancel() {
      await chunks.return?.();
    },
  });
}

async function next(chunks: AsyncIterator<Uint8Array>, received: number): Promise<IteratorResult<Uint8Array>> {
  try {
    return await chunks.next();
  } catch (error) {
    throw new AppError("bad_request", `The upload broke off after ${received} bytes.`, { cause: error });
  }
}

function wrongLength(expected: number, actual: number): AppError {
  return new AppError(
    "bad_request",
    `The body has ${actual > expected ? "more than the" : `${actual} instead of`} ${expected} bytes that were announced.`,
    { field: "sizeBytes" },
  );
}

/** Sends a stream as the answer, which is in the audit trail from its begin; an error in the middle breaks the connection, so that the client does not take it for the end. */
export async function sendOctets(
  services: RestServices,
  reply: FastifyReply,
  content: Octets | AsyncIterable<Uint8Array>,
  sizeBytes?: number,
): Promise<void> {
  const isWeb = content instanceof ReadableStream;
  const source = isWeb
    ? Readable.fromWeb(content as NodeReadableStream<Uint8Array>)
    : Readable.from(content, { objectMode: false });
  // What fails before its first byte is refused as anything else is.
  await once(source, "readable");
  reply.hijack();
  void audit(services, reply.request, { statusCode: 200, elapsedTime: reply.elapsedTime });
  const { raw } = reply;
  try {
    for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value);
    raw.writeHead(200, {
      "content-type": "application/octet-stream",
      ...(sizeBytes === undefined ? {} : { "content-length": sizeBytes }),
    });
    await pipeline(source, raw);
  } catch {
    // Of a client who left before, a pipeline leaves the source as it is.
    source.once("error", () => undefined).destroy();
    raw.destroy();
  }
}

/**
 * JSON of a request as I-JSON (RFC 7493), of which everyone reads the same: valid UTF-8, no name twice in an object (else
 * one program checks the first and another uses the last), no number that loses digits; and nested only so deep.
 */
import type { Readable } from "node:stream";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import { AppError } from "#core/app-error.ts";

const depthMax = 32;
/** A MiB over a slow line; who takes longer holds a connection for nothing. */
const bodyTimeoutMs = 30_000;

/** All of a body of at most `maxBytes` that comes in time; else too_large, or the connection is cut. */
export async function readBody(payload: Readable, maxBytes: number, timeoutMs = bodyTimeoutMs): Promise<Buffer> {
  const timer = setTimeout(() => payload.destroy(new Error("the body came too slowly")), timeoutMs);
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of payload.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes)
        throw new AppError("too_large", `The body is larger than the ${maxBytes} bytes that it may be.`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError("bad_request", "The body broke off, or came too slowly.", { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** undefined for an empty body; bad_request or invalid_field says what is wrong, and names the field where there is one. */
export function parseJsonBody(body: Uint8Array): unknown {
  if (body.length === 0) return undefined;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new AppError("bad_request", "The body is not valid UTF-8.");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new AppError("bad_request", `The body is not valid JSON: ${error instanceof Error ? error.message : ""}.`);
  }
  checkTokens(text);
  return value;
}

interface Frame {
  /** Of an object. */
  readonly names: Set<string> | undefined;
  /** What the present value is called: a name, or a place in a list. */
  at: string | number;
}

const tokenPattern = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** `text` is valid JSON. */
function checkTokens(text: string): void {
  const stack: Frame[] = [];
  let isName = false;
  for (const [token] of text.matchAll(tokenPattern)) {
    const frame = stack.at(-1);
    switch (token) {
      case "{":
      case "[":
        if (stack.length === depthMax) throw new AppError("bad_request", `The body is nested deeper than ${depthMax}.`);
        stack.push({ names: token === "{" ? new Set() : undefined, at: 0 });
        isName = token === "{";
        break;
      case "}":
      case "]":
        stack.pop();
        isName = false;
        break;
      case ",":
        isName = frame?.names !== undefined;
        if (typeof frame?.at === "number") frame.at++;
        break;
      case ":":
        isName = false;
        break;
      default:
        if (isName && frame?.names !== undefined) noteName(frame, frame.names, JSON.parse(token) as string, stack);
        else if (token[0] !== '"') checkNumber(token, stack);
    }
  }
}

function noteName(frame: Frame, names: Set<string>, name: string, stack: readonly Frame[]): void {
  frame.at = name;
  if (names.has(name)) throw wrong("bad_request", stack, "is given twice");
  names.add(name);
}

function checkNumber(token: string, stack: readonly Frame[]): void {
  if (Math.abs(Number(token)) > Number.MAX_SAFE_INTEGER) {
    throw wrong("invalid_field", stack, `is ${token.slice(0, 30)}, which is beyond ±(2^53−1)`);
  }
}

function wrong(code: ErrorCode, stack: readonly Frame[], reason: string): AppError {
  const field = stack.map(({ at }) => String(at)).join(".");
  return new AppError(code, `${field === "" ? "The body" : field} ${reason}.`, field === "" ? {} : { field });
}

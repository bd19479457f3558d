/**
 * JSON of a request as I-JSON (RFC 7493), of which everyone reads the same: valid UTF-8, no name twice in an object (else
 * one program checks the first and another uses the last), no number that loses digits; and nested only so deep.
 */
import { AppError } from "#core/app-error.ts";

const depthMax = 32;

/** undefined for an empty body; bad_request says what is wrong, and names the field where there is one. */
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
  if (names.has(name)) throw wrong(stack, "is given twice");
  names.add(name);
}

function checkNumber(token: string, stack: readonly Frame[]): void {
  if (Math.abs(Number(token)) > Number.MAX_SAFE_INTEGER) {
    throw wrong(stack, `is ${token.slice(0, 30)}, which is beyond ±(2^53−1)`);
  }
}

function wrong(stack: readonly Frame[], reason: string): AppError {
  const field = stack.map(({ at }) => String(at)).join(".");
  return new AppError("bad_request", `${field === "" ? "The body" : field} ${reason}.`, field === "" ? {} : { field });
}

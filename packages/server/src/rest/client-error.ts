/** What is answered to a connection whose request can't even be read: a sentence, and its end. */
import type { Socket } from "node:net";
import { problemContentType } from "@innkeeper/contract/problem.ts";
import { AppError, toProblem } from "#core/app-error.ts";
import type { Unread } from "#rest/audit.ts";

const timedOut = "ERR_HTTP_REQUEST_TIMEOUT";

type Refusal = readonly [status: string, error: AppError];

/**
 * By Node's codes: https://nodejs.org/api/http.html#event-clienterror; HPE_ are llhttp's. Returns what was answered;
 * undefined after a handshake that failed, or a connection that was cut: there is nobody to be told. Nor is one that was
 * only opened and then left alone, as browsers do ahead of time: it asked for nothing.
 */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): Unread | undefined {
  const code = error.code ?? "";
  const isIdle = code === timedOut && socket.bytesRead === 0;
  if (!/^(HPE_|ERR_HTTP_)/.test(code) || !socket.writable || isIdle) {
    socket.destroy();
    return undefined;
  }
  return answerAndClose(socket, ...refusal(code));
}

function refusal(code: string): Refusal {
  if (code === "HPE_HEADER_OVERFLOW") {
    return ["431 Request Header Fields Too Large", new AppError("too_large", "The request's headers are too large.")];
  }
  if (code === timedOut) {
    return ["408 Request Timeout", new AppError("bad_request", "The request came too slowly.")];
  }
  return ["400 Bad Request", new AppError("bad_request", "This is not an HTTP request.")];
}

const lingerMs = 1000;

/** So that the answer can be read before the connection is cut. */
export function answerAndClose(socket: Socket, status: string, error: AppError): Unread {
  const unread = { address: socket.remoteAddress, httpStatus: Number.parseInt(status, 10), errorCode: error.code };
  const body = JSON.stringify(toProblem(error));
  const head = `HTTP/1.1 ${status}\r\nContent-Type: ${problemContentType}\r\nContent-Length: ${Buffer.byteLength(body)}`;
  socket.on("error", () => undefined);
  socket.end(`${head}\r\nConnection: close\r\n\r\n${body}`);
  socket.setTimeout(lingerMs, () => socket.destroy());
  socket.resume();
  return unread;
}

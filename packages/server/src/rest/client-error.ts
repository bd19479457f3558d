/** What is answered to a connection whose request can't even be read: a sentence, and its end. */
import type { Socket } from "node:net";
import { problemContentType } from "@innkeeper/contract/problem.ts";
import { AppError, toProblem } from "#core/app-error.ts";

/** By Node's codes: https://nodejs.org/api/http.html#event-clienterror; HPE_ are llhttp's. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  const code = error.code ?? "";
  // A handshake that failed, or a connection that was cut: there is nobody to be told.
  if (!/^(HPE_|ERR_HTTP_)/.test(code) || !socket.writable) {
    socket.destroy();
    return;
  }
  if (code === "HPE_HEADER_OVERFLOW") {
    const tooLarge = new AppError("too_large", "The request's headers are too large.");
    answerAndClose(socket, "431 Request Header Fields Too Large", tooLarge);
  } else if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    answerAndClose(socket, "408 Request Timeout", new AppError("bad_request", "The request came too slowly."));
  } else {
    answerAndClose(socket, "400 Bad Request", new AppError("bad_request", "This is not an HTTP request."));
  }
}

const lingerMs = 1000;

/** So that the answer can be read before the connection is cut. */
export function answerAndClose(socket: Socket, status: string, error: AppError): void {
  const body = JSON.stringify(toProblem(error));
  const head = `HTTP/1.1 ${status}\r\nContent-Type: ${problemContentType}\r\nContent-Length: ${Buffer.byteLength(body)}`;
  socket.on("error", () => undefined);
  socket.end(`${head}\r\nConnection: close\r\n\r\n${body}`);
  socket.setTimeout(lingerMs, () => socket.destroy());
  socket.resume();
}

/** Where a request carries its secret: the Authorization header, or for WebSockets of browsers a subprotocol. */
import type { IncomingHttpHeaders } from "node:http";

const bearerPattern = /^Bearer +([A-Za-z0-9_-]{20,200})$/i; // RFC 6750 §2.1
const protocolPattern = /^bearer\.([A-Za-z0-9_-]{20,200})$/;

/** A browser's WebSocket can't set headers; it may offer the subprotocols `inn.console` and `bearer.<secret>`. */
const consoleProtocol = "inn.console";

export function bearerSecret(request: { readonly headers: IncomingHttpHeaders }): string | undefined {
  const { authorization, upgrade } = request.headers;
  if (authorization !== undefined) return bearerPattern.exec(authorization)?.[1] ?? "";
  if (upgrade?.toLowerCase() !== "websocket") return undefined;
  const offered = request.headers["sec-websocket-protocol"]?.split(",") ?? [];
  return offered.map((protocol) => protocolPattern.exec(protocol.trim())?.[1]).find((secret) => secret !== undefined);
}

/** The subprotocol to answer with: never the one that is a secret. */
export function chooseProtocol(offered: ReadonlySet<string>): string | false {
  return offered.has(consoleProtocol) ? consoleProtocol : false;
}

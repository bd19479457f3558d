// Two byte streams, each the other's far end, without a socket. As with a socket, closing one ends the other.
import { duplexPair } from "node:stream";
import type { Duplex } from "node:stream";

export function pipe(): [near: Duplex, far: Duplex] {
  const [near, far] = duplexPair();
  near.once("close", () => far.destroy());
  far.once("close", () => near.destroy());
  return [near, far];
}

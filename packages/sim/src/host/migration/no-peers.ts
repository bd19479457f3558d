// A host alone: whoever it is told to reach does not answer.
import { VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { Peers } from "./outgoing.ts";

/** As libvirt says it of a host that nobody routes to (virNetSocketNewConnectTCP in src/rpc/virnetsocket.c). */
export function unreachable(uri: string): SimError {
  return new SimError(VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, `unable to connect to server at '${uri}': No route to host`);
}

export const NO_PEERS: Peers = {
  daemon: (uri) => {
    throw unreachable(uri);
  },
  memory: (uri) => {
    throw unreachable(uri);
  },
  bandwidthBytesPerS: 1,
};

// The first exchange of every connection (remoteAuthenticate in libvirt's src/remote/remote_driver.c): the daemon names
// the ways of authentication it accepts; none is the usual answer over TLS and SSH and for root's local socket.
import { REMOTE_AUTH_NONE, REMOTE_AUTH_POLKIT, REMOTE_AUTH_SASL } from "#generated/protocol-constant.ts";
import { ConnectError, LibvirtError } from "#rpc/error.ts";
import { SaslLogin } from "./sasl-login.ts";
import type { RemoteCalls } from "#generated/remote-procedure.ts";
import type { CallOptions } from "#rpc/pending-call.ts";
import type { ConnectionUri } from "#transport/uri.ts";
import type { Calls } from "./call.ts";
import type { SaslOptions } from "./sasl-login.ts";

/** @param target how errors name the daemon. Rejects with ConnectError ("authentication"). */
export async function authenticate(
  remote: Calls<RemoteCalls>,
  uri: ConnectionUri,
  target: string,
  sasl: SaslOptions | undefined,
  call: CallOptions,
): Promise<void> {
  try {
    const { types } = await remote.authList({}, call);
    if (types.length === 0 || types.includes(REMOTE_AUTH_NONE)) return;
    if (types.includes(REMOTE_AUTH_POLKIT)) return await polkit(remote, target, call);
    if (types.includes(REMOTE_AUTH_SASL)) return await new SaslLogin(remote, target, uri, call).run(sasl);
    throw new ConnectError(
      "authentication",
      `${target} offers only unknown ways of authentication (${types.join(", ")})`,
    );
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    throw new ConnectError("authentication", `${target}: ${error.message}`, error);
  }
}

async function polkit(remote: Calls<RemoteCalls>, target: string, call: CallOptions): Promise<void> {
  const { complete } = await remote.authPolkit({}, call);
  if (complete !== 1) throw new ConnectError("authentication", `${target}: polkit did not accept this user`);
}

// The first exchange of every connection (remoteAuthenticate in libvirt's src/remote/remote_driver.c): the daemon names
// the ways of authentication it accepts; none is the usual answer over TLS and SSH and for root's local socket.
import { REMOTE_AUTH_NONE, REMOTE_AUTH_POLKIT, REMOTE_AUTH_SASL } from "#generated/protocol-constant.ts";
import { ConnectError, LibvirtError } from "#rpc/error.ts";
import type { RemoteCalls } from "#generated/remote-procedure.ts";
import type { CallOptions } from "#rpc/pending-call.ts";
import type { Calls } from "./call.ts";

export async function authenticate(remote: Calls<RemoteCalls>, target: string, options: CallOptions): Promise<void> {
  try {
    await negotiate(remote, target, options);
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    throw new ConnectError("authentication", `${target}: ${error.message}`, error);
  }
}

async function negotiate(remote: Calls<RemoteCalls>, target: string, options: CallOptions): Promise<void> {
  const { types } = await remote.authList({}, options);
  if (types.length === 0 || types.includes(REMOTE_AUTH_NONE)) return;
  if (types.includes(REMOTE_AUTH_POLKIT)) return polkit(remote, target, options);
  if (types.includes(REMOTE_AUTH_SASL)) {
    throw new ConnectError(
      "authentication",
      `${target} demands a SASL login, which this client does not offer; use TLS certificates, SSH or the local socket`,
    );
  }
  throw new ConnectError(
    "authentication",
    `${target} offers only unknown ways of authentication (${types.join(", ")})`,
  );
}

async function polkit(remote: Calls<RemoteCalls>, target: string, options: CallOptions): Promise<void> {
  const { complete } = await remote.authPolkit({}, options);
  if (complete !== 1) throw new ConnectError("authentication", `${target}: polkit did not accept this user`);
}

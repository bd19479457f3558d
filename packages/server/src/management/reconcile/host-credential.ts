/** How each host is reached: its URI and, encrypted, its keys and passwords. They are in no document and in no answer. */
import type { SecretBox } from "#core/secret-box.ts";
import type { HostAddress } from "#hardware/port.ts";
import type { Store, StoreTransaction } from "#store/port.ts";

export const hostCredentialSpace = "host-credential";

type Credential = Pick<HostAddress, "tls" | "ssh" | "sasl">;

export class HostCredentials {
  readonly #box: SecretBox;

  constructor(box: SecretBox) {
    this.#box = box;
  }

  /** In the transaction that stores the host, so that there is never one without the other. */
  async put(transaction: StoreTransaction, hostId: string, address: HostAddress): Promise<void> {
    const credential: Credential = {
      ...(address.tls === undefined ? {} : { tls: address.tls }),
      ...(address.ssh === undefined ? {} : { ssh: address.ssh }),
      ...(address.sasl === undefined ? {} : { sasl: address.sasl }),
    };
    await transaction.putPrivate(
      hostCredentialSpace,
      hostId,
      this.#box.seal(JSON.stringify(credential), hostCredentialContext(hostId)),
    );
  }

  async delete(transaction: StoreTransaction, hostId: string): Promise<void> {
    await transaction.deletePrivate(hostCredentialSpace, hostId);
  }

  async address(store: Store, host: { readonly id: string; readonly uri: string }): Promise<HostAddress> {
    const sealed = await store.transaction((transaction) => transaction.getPrivate(hostCredentialSpace, host.id));
    if (typeof sealed !== "string") return { uri: host.uri };
    return { uri: host.uri, ...(JSON.parse(this.#box.open(sealed, hostCredentialContext(host.id))) as Credential) };
  }
}

export function hostCredentialContext(hostId: string): string {
  return `host:${hostId}`;
}

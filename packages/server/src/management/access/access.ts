/**
 * Who may do what: authentication by secret, authorization by role. Deny by default: what no role grants is refused,
 * and a disabled or deleted user has nothing from that moment on.
 */
import { type Privilege, role } from "@innkeeper/contract/privilege.ts";
import type { User } from "@innkeeper/contract/resource/user.ts";
import type { Access } from "@innkeeper/contract/endpoint/endpoint.ts";
import { AppError } from "#core/app-error.ts";
import { StreamLimit } from "#management/access/stream-limit.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { Credential, CredentialTable } from "#management/access/credential-table.ts";

/** Who a request comes from. */
export interface Principal {
  readonly user: User;
  /** Of the session or token by which he came. */
  readonly credentialKey: string;
  readonly credentialType: Credential["type"];
  /** Of an API token. */
  readonly tokenId?: string;
}

export class AccessControl {
  readonly #inventory: Inventory;
  readonly #credentials: CredentialTable;
  readonly #streams = new StreamLimit();

  constructor(inventory: Inventory, credentials: CredentialTable) {
    this.#inventory = inventory;
    this.#credentials = credentials;
  }

  /** unauthenticated unless the secret is a session's or token's of a user who may log in. */
  async authenticate(secret: string | undefined): Promise<Principal> {
    const found = secret === undefined ? undefined : this.#credentials.find(secret);
    const user = found && this.#inventory.get("user", found.credential.userId);
    if (found === undefined || user === undefined || user.disabled) {
      throw new AppError(
        "unauthenticated",
        secret === undefined ? "This needs a login." : "The session or token is unknown or has ended.",
      );
    }
    await this.#credentials.use(found.key);
    const { type, tokenId } = found.credential;
    const credential = { credentialKey: found.key, credentialType: type };
    return { user, ...credential, ...(tokenId === undefined ? {} : { tokenId }) };
  }

  /** Whether there is such a session or token; true of none. */
  isKnown(secret: string | undefined): boolean {
    return secret === undefined || this.#credentials.find(secret) !== undefined;
  }

  /** Whether the use of this secret is to be noted again, which only the process that leads can do. */
  isUseDue(secret: string | undefined): boolean {
    return secret !== undefined && this.#credentials.isUseDue(secret);
  }

  /** forbidden, naming the privilege, unless the principal may. */
  authorize(principal: Principal, access: Exclude<Access, "open">): void {
    if (access === "self" || this.may(principal, access)) return;
    throw new AppError(
      "forbidden",
      `The role "${principal.user.role}" of ${principal.user.name} has no privilege ${access}. Nothing was done.`,
      { fault: { privilege: access } },
    );
  }

  /** As of now: the user's role may have changed since the principal was made. */
  may(principal: Principal, privilege: Privilege): boolean {
    const user = this.#inventory.get("user", principal.user.id);
    if (user === undefined || user.disabled || !Object.hasOwn(role, user.role)) return false;
    const granted: readonly Privilege[] = role[user.role];
    return granted.includes(privilege);
  }

  /** Whether a stream that this principal opened may go on. */
  holds(principal: Principal): boolean {
    return (
      this.#credentials.holds(principal.credentialKey) &&
      this.#inventory.get("user", principal.user.id)?.disabled === false
    );
  }

  /** A place for a watch or console of this user, until it is disposed. too_many_attempts when he has too many. */
  openStream({ user }: Principal): Disposable {
    return this.#streams.take(user.id, user.name);
  }

  /** Calls back at once when the principal's credential is ended. Returns how to stop. */
  onEnd(principal: Principal, ended: () => void): () => void {
    return this.#credentials.onEnd((key) => {
      if (key === principal.credentialKey) ended();
    });
  }
}

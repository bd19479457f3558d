/**
 * Users, login, passwords and tokens. Invariants: there is always an administrator who may log in; names are unique;
 * whoever changes a password, disables or deletes a user ends that user's sessions in the same transaction.
 */
import { newId } from "@innkeeper/contract/id.ts";
import type {
  Login,
  PasswordChange,
  Session,
  Token,
  TokenCreate,
  TokenCreated,
  User,
  UserChange,
  UserCreate,
} from "@innkeeper/contract/resource/user.ts";
import { AppError } from "#core/app-error.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { AccessControl, Principal } from "#management/access/access.ts";
import { type Credential, type CredentialTable, sessionMs } from "#management/access/credential-table.ts";
import type { LoginLimit } from "#management/access/login-limit.ts";
import { hashPassword, randomPassword, verifyPassword } from "#management/access/password.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { checkRevision } from "#management/inventory/precondition.ts";
import type { Store, StoreTransaction } from "#store/port.ts";

interface UserServiceDeps {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly credentials: CredentialTable;
  readonly access: AccessControl;
  readonly loginLimit: LoginLimit;
  readonly clock: Clock;
}

/** Key: user id; value: the hash. */
export const passwordSpace = "password";
const tokensMax = 100;
export const firstAdministrator = "admin";

export class UserService {
  readonly #deps: UserServiceDeps;

  constructor(deps: UserServiceDeps) {
    this.#deps = deps;
  }

  /** Makes the first administrator if there is no user yet; his password, which is shown this once. */
  async createFirstAdministrator(password: string = randomPassword()): Promise<string | undefined> {
    if (this.#deps.inventory.list("user").length > 0) return undefined;
    await this.create({ name: firstAdministrator, password, role: "administrator", fullName: "First administrator" });
    return password;
  }

  /**
   * For who is locked out and has the machine: `admin` is an administrator again who may log in, with this password.
   * Ends his sessions. Returns the password.
   */
  async resetAdministrator(password: string = randomPassword()): Promise<string> {
    const [admin] = this.#deps.inventory.by("user", "name", firstAdministrator);
    if (admin === undefined) {
      await this.create({ name: firstAdministrator, password, role: "administrator" });
      return password;
    }
    const hash = await hashPassword(password);
    return this.#ending(
      (credential) => credential.type === "session" && credential.userId === admin.id,
      async (transaction) => {
        await transaction.put("user", { ...admin, role: "administrator", disabled: false });
        await transaction.putPrivate(passwordSpace, admin.id, hash);
        return password;
      },
    );
  }

  /** wrong_credentials tells nothing about which of the two is wrong, nor by its time. */
  async login(login: Login, address: string): Promise<Session> {
    const { inventory, store, clock, credentials, loginLimit } = this.#deps;
    const attempt = loginLimit.attempt(login.name, address);
    const [user] = inventory.by("user", "name", login.name);
    const hash = user && (await store.transaction((transaction) => transaction.getPrivate(passwordSpace, user.id)));
    const right = await verifyPassword(login.password, typeof hash === "string" ? hash : undefined);
    if (!right || user === undefined || user.disabled) throw wrongLogin();
    attempt.succeeded();
    const expiresAtMs = clock.now() + sessionMs;
    const { session, keep } = await store.transaction(async (transaction) => {
      const present = await transaction.get("user", user.id);
      // Checking takes its time: of a password that was changed meanwhile no session is made.
      const isSame = (await transaction.getPrivate(passwordSpace, user.id)) === hash;
      if (present === undefined || present.disabled || !isSame) throw wrongLogin();
      const { secret, keep } = await credentials.create(transaction, { type: "session", userId: user.id, expiresAtMs });
      const written = await transaction.put("user", { ...present, lastLoginAt: timestamp(clock) });
      return { session: { secret, expiresAt: new Date(expiresAtMs).toISOString(), user: written }, keep };
    });
    keep();
    return session;
  }

  async logout(principal: Principal): Promise<void> {
    await this.#ending((_, key) => key === principal.credentialKey);
  }

  async create(request: UserCreate): Promise<User> {
    const hash = await hashPassword(request.password);
    return this.#deps.store.transaction(async (transaction) => {
      const users = await transaction.list("user");
      if (users.some((user) => user.name === request.name)) {
        throw new AppError("name_taken", `There is a user ${request.name} already.`, { field: "name" });
      }
      const user = {
        id: newId("user"),
        name: request.name,
        fullName: request.fullName ?? "",
        role: request.role,
        disabled: false,
        createdAt: timestamp(this.#deps.clock),
      };
      await transaction.putPrivate(passwordSpace, user.id, hash);
      return transaction.put("user", user);
    });
  }

  async change(userId: string, request: UserChange, ifRevision?: number): Promise<User> {
    const { store, inventory } = this.#deps;
    if (ifRevision !== undefined) await checkRevision(store, inventory, "user", userId, ifRevision);
    const isEnded = (credential: Credential): boolean =>
      request.disabled === true && credential.type === "session" && credential.userId === userId;
    return this.#ending(isEnded, async (transaction) => {
      const user = await this.#require(transaction, userId);
      const changed = { ...user, ...request };
      await this.#checkAdministratorRemains(transaction, changed);
      return transaction.put("user", changed, ifRevision === undefined ? {} : { ifRevision });
    });
  }

  /** One's own with the present password; another's with the privilege user.change. Ends the user's sessions, not his tokens. */
  async changePassword(principal: Principal, userId: string, request: PasswordChange, address: string): Promise<void> {
    const { store, access, loginLimit } = this.#deps;
    const own = principal.user.id === userId;
    if (!own) access.authorize(principal, "user.change");
    const present = await store.transaction(async (transaction) => {
      await this.#require(transaction, userId);
      return transaction.getPrivate(passwordSpace, userId);
    });
    if (own) {
      const attempt = loginLimit.attempt(principal.user.name, address);
      const given = request.currentPassword ?? "";
      if (!(await verifyPassword(given, typeof present === "string" ? present : undefined))) throw wrongPresent();
      attempt.succeeded();
    }
    const hash = await hashPassword(request.newPassword);
    await this.#ending(
      (credential) => credential.type === "session" && credential.userId === userId,
      async (transaction) => {
        await this.#require(transaction, userId);
        // Changed while it was checked: the one that was given is not the present one any more.
        if (own && (await transaction.getPrivate(passwordSpace, userId)) !== present) throw wrongPresent();
        await transaction.putPrivate(passwordSpace, userId, hash);
      },
    );
  }

  async delete(userId: string, ifRevision?: number): Promise<void> {
    const { store, inventory } = this.#deps;
    if (ifRevision !== undefined) await checkRevision(store, inventory, "user", userId, ifRevision);
    await this.#ending(
      (credential) => credential.userId === userId,
      async (transaction) => {
        const user = await this.#require(transaction, userId);
        await this.#checkAdministratorRemains(transaction, { ...user, disabled: true });
        for (const token of await transaction.list("token")) {
          if (token.userId === userId) await transaction.delete("token", token.id);
        }
        await transaction.deletePrivate(passwordSpace, userId);
        await transaction.delete("user", userId);
      },
    );
  }

  /** Of a session only: a token that leaks must not make others that outlive it. */
  async createToken(principal: Principal, request: TokenCreate): Promise<TokenCreated> {
    const { store, clock, credentials } = this.#deps;
    if (principal.credentialType !== "session") {
      throw new AppError("forbidden", "A token can't make tokens. Nothing was done.", {
        remedy: "Log in with name and password first.",
      });
    }
    const { id: userId } = principal.user;
    const days = request.expiresInDays;
    const expiresAtMs = days === undefined ? undefined : clock.now() + days * 86_400_000;
    const { created, keep } = await store.transaction(async (transaction) => {
      const own = (await transaction.list("token")).filter((token) => token.userId === userId);
      if (own.length >= tokensMax) {
        throw new AppError("conflict", `${principal.user.name} has ${tokensMax} tokens already; revoke one first.`);
      }
      const token: Omit<Token, "revision"> = {
        id: newId("token"),
        userId,
        name: request.name,
        createdAt: timestamp(clock),
        ...(expiresAtMs === undefined ? {} : { expiresAt: new Date(expiresAtMs).toISOString() }),
      };
      const { secret, keep } = await credentials.create(transaction, {
        type: "token",
        userId,
        tokenId: token.id,
        ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
      });
      return { created: { token: await transaction.put("token", token), secret }, keep };
    });
    keep();
    return created;
  }

  /** Another's token is as if there was none. */
  async deleteToken(principal: Principal, tokenId: string): Promise<void> {
    const token = this.#deps.inventory.get("token", tokenId);
    if (token === undefined || token.userId !== principal.user.id) {
      throw new AppError("not_found", "You have no such token.", { field: "tokenId" });
    }
    await this.#ending(
      (credential) => credential.tokenId === tokenId,
      (transaction) => transaction.delete("token", tokenId),
    );
  }

  /** A transaction that also ends credentials: in memory once, and only when, it is committed. */
  async #ending<T>(
    matches: (credential: Credential, key: string) => boolean,
    work: (transaction: StoreTransaction) => Promise<T> = async () => undefined as T,
  ): Promise<T> {
    const { result, forget } = await this.#deps.store.transaction(async (transaction) => {
      const result = await work(transaction);
      return { result, forget: await this.#deps.credentials.end(transaction, matches) };
    });
    forget();
    return result;
  }

  async #require(transaction: StoreTransaction, userId: string): Promise<User> {
    const user = await transaction.get("user", userId);
    if (user === undefined) throw new AppError("not_found", "There is no such user.", { field: "userId" });
    return user;
  }

  async #checkAdministratorRemains(transaction: StoreTransaction, changed: Omit<User, "revision">): Promise<void> {
    if (changed.role === "administrator" && !changed.disabled) return;
    const others = (await transaction.list("user")).filter((user) => user.id !== changed.id);
    if (others.some((user) => user.role === "administrator" && !user.disabled)) return;
    throw new AppError("conflict", `${changed.name} is the last administrator who may log in; nothing was changed.`, {
      remedy: "Make another user an administrator first.",
    });
  }
}

function wrongLogin(): AppError {
  return new AppError("wrong_credentials", "User name or password is wrong.");
}

function wrongPresent(): AppError {
  return new AppError("wrong_credentials", "The present password is wrong.", { field: "currentPassword" });
}

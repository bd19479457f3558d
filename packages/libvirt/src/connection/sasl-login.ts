// Logging in by SASL: remoteAuthSASL in libvirt's src/remote/remote_driver.c, remoteDispatchAuthSasl… in
// src/remote/remote_daemon_dispatch.c. libvirtd answers every failure with "authentication failed"; at which message it
// does so tells what was wrong.
import { ConnectError, LibvirtError } from "#rpc/error.ts";
import { chooseMechanism, saslMechanism, saslMechanismNames } from "#sasl/choice.ts";
import { SaslError } from "#sasl/mechanism.ts";
import type { RemoteCalls } from "#generated/remote-procedure.ts";
import type { LoginSubject } from "#rpc/error.ts";
import type { CallOptions } from "#rpc/pending-call.ts";
import type { SaslMechanism } from "#sasl/mechanism.ts";
import type { ConnectionUri } from "#transport/uri.ts";
import type { Calls } from "./call.ts";

export interface SaslOptions {
  /** Default: the user of the URI. */
  readonly userName?: string;
  readonly password: string;
}

/** Of a name or a password; libvirt's limit is that of a message (REMOTE_AUTH_SASL_DATA_MAX, 65,536). */
const TEXT_MAX = 1_024;

export class SaslLogin {
  readonly #remote: Calls<RemoteCalls>;
  readonly #target: string;
  readonly #uri: ConnectionUri;
  readonly #call: CallOptions;

  /** @param target how errors name the daemon. */
  constructor(remote: Calls<RemoteCalls>, target: string, uri: ConnectionUri, call: CallOptions) {
    this.#remote = remote;
    this.#target = target;
    this.#uri = uri;
    this.#call = call;
  }

  /** Rejects with ConnectError ("authentication"). */
  async run(options: SaslOptions | undefined): Promise<void> {
    if (this.#uri.transport === "tcp")
      throw this.#error(
        "mechanism",
        "the daemon demands a SASL login over plain TCP, for which libvirt wants a mechanism that encrypts; this client has none: use TLS, SSH or the local socket",
      );
    if (options === undefined)
      throw this.#error("password", "the daemon demands a user name and a password (SASL), and none were given");
    const userName = this.#text("user", "user name", options.userName ?? this.#uri.user ?? "");
    const password = this.#text("password", "password", options.password);
    const name = await this.#choose();
    await this.#exchange(saslMechanism(name, userName, password), userName);
  }

  #text(subject: LoginSubject, what: string, value: string): string {
    if (value === "") throw this.#error(subject, `the daemon demands a ${what} (SASL), and none was given`);
    if (value.includes("\0") || !value.isWellFormed() || Buffer.byteLength(value) > TEXT_MAX)
      throw this.#error(
        subject,
        `the ${what} is longer than ${TEXT_MAX} bytes, or has a NUL or half a character in it`,
      );
    return value;
  }

  async #choose(): Promise<string> {
    const { mechlist } = await this.#remote.authSaslInit({}, this.#call);
    // Separated by commas (virNetSASLSessionListMechanisms).
    const offered = mechlist.split(/[, ]+/u).filter((name) => name !== "");
    const name = chooseMechanism(offered, this.#allowed());
    if (name !== null) return name;
    const list = offered.length === 0 ? "none" : offered.join(", ");
    throw this.#error(
      "mechanism",
      `none of the ways to log in that the daemon offers can be used here (offered: ${list}; possible: ${this.#allowed().join(", ")}): add scram-sha-256 to mech_list in /etc/sasl2/libvirt.conf on the host`,
    );
  }

  /** PLAIN only where nobody else can read along; ?auth=sasl.<mechanism> leaves one (https://libvirt.org/uri.html). */
  #allowed(): string[] {
    const { transport, parameters } = this.#uri;
    const isPrivate = transport !== "tls" || !parameters.has("no_verify");
    const [, wanted] = /^sasl\.(.+)$/iu.exec(parameters.get("auth") ?? "") ?? [];
    return saslMechanismNames.filter(
      (name) => (name !== "PLAIN" || isPrivate) && (wanted === undefined || wanted.toUpperCase() === name),
    );
  }

  async #exchange(mechanism: SaslMechanism, userName: string): Promise<void> {
    const first = mechanism.start();
    let isStarted = false;
    try {
      let answer = await this.#remote.authSaslStart({ mech: mechanism.name, nil: 0, data: first }, this.#call);
      isStarted = true;
      while (answer.complete !== 1) {
        const data = await mechanism.step(Buffer.from(answer.data));
        answer = await this.#remote.authSaslStep({ nil: data.byteLength === 0 ? 1 : 0, data }, this.#call);
      }
      // The server's proof may come with its consent (SASL_SUCCESS_DATA).
      if (answer.nil === 0 && !mechanism.isComplete) await mechanism.step(Buffer.from(answer.data));
      if (!mechanism.isComplete) throw new SaslError("the server consents without having proven itself");
    } catch (error) {
      if (error instanceof SaslError) throw this.#error("password", `${mechanism.name}: ${error.message}`, error);
      if (!(error instanceof LibvirtError)) throw error;
      throw this.#refused(mechanism, userName, isStarted, error);
    }
  }

  /** SCRAM's first message holds the name only: who is refused by the answer to it, is not known (or may not log in). */
  #refused(mechanism: SaslMechanism, userName: string, isStarted: boolean, error: LibvirtError): ConnectError {
    const who = JSON.stringify(userName);
    if (mechanism.name === "PLAIN")
      return this.#error("password", `the daemon refuses user ${who} with this password (PLAIN)`, error);
    return isStarted
      ? this.#error(
          "password",
          `the password of user ${who} is wrong, or the user is not in the daemon's sasl_allowed_username_list (${mechanism.name})`,
          error,
        )
      : this.#error("user", `the daemon knows no user ${who} with a password for ${mechanism.name}`, error);
  }

  #error(subject: LoginSubject, text: string, cause?: unknown): ConnectError {
    return new ConnectError("authentication", `${this.#target}: ${text}`, cause, subject);
  }
}

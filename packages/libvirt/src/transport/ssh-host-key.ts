// Whether an SSH host is the one it should be. Default (known_hosts_verify=normal): only keys that known_hosts lists.
// auto: a key of a host never seen is accepted and written down; a changed one is refused. ignore (or no_verify=1): any.
import { appendFile, mkdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { ConnectError } from "#rpc/error.ts";
import { fingerprint, judgeHostKey, keyType, knownKeys, knownName } from "./known-hosts.ts";
import type { KnownHostKey } from "./known-hosts.ts";
import type { SshOptions } from "./ssh-credential.ts";
import type { ConnectionUri } from "./uri.ts";

type Policy = "normal" | "auto" | "ignore";

export class HostKeyCheck {
  /** Why the key was refused, once it was. */
  refusal: ConnectError | null = null;
  readonly #uri: ConnectionUri;
  readonly #port: number;
  readonly #policy: Policy;
  readonly #pinned: string | undefined;
  readonly #keys: readonly KnownHostKey[];
  readonly #file: string | null;

  private constructor(
    uri: ConnectionUri,
    port: number,
    policy: Policy,
    pinned: string | undefined,
    keys: readonly KnownHostKey[],
    file: string | null,
  ) {
    this.#uri = uri;
    this.#port = port;
    this.#policy = policy;
    this.#pinned = pinned;
    this.#keys = keys;
    this.#file = file;
  }

  static async prepare(uri: ConnectionUri, port: number, options: SshOptions): Promise<HostKeyCheck> {
    const policy = policyOf(uri);
    const pinned = options.hostKeyFingerprint;
    if (options.knownHosts !== undefined)
      return new HostKeyCheck(uri, port, policy, pinned, knownKeys(options.knownHosts, uri.host, port), null);
    const own = uri.parameters.get("known_hosts");
    const user = own ?? join(homedir(), ".ssh/known_hosts");
    const files = own === undefined ? [user, "/etc/ssh/ssh_known_hosts"] : [own];
    const texts = await Promise.all(files.map((file) => readFile(file, "utf8").catch(() => "")));
    return new HostKeyCheck(uri, port, policy, pinned, knownKeys(texts.join("\n"), uri.host, port), user);
  }

  /** Key types that are known for the host: to be asked for first, or the host may offer one that is not. */
  get types(): string[] {
    return [...new Set(this.#keys.filter((key) => !key.isRevoked).map((key) => key.type))];
  }

  async accepts(key: Buffer): Promise<boolean> {
    if (this.#policy === "ignore") return true;
    const print = fingerprint(key);
    if (this.#pinned !== undefined)
      return this.#pinned === print || this.#refuse(`has the host key ${print}, not ${this.#pinned}`);
    switch (judgeHostKey(this.#keys, key)) {
      case "known":
        return true;
      case "changed":
        return this.#refuse(
          `shows another host key (${keyType(key)} ${print}) than known_hosts lists: it was reinstalled, or someone is in between`,
        );
      case "revoked":
        return this.#refuse(`shows a host key that known_hosts marks as revoked (${print})`);
      case "unknown":
        if (this.#policy === "auto") return this.#learn(key);
        return this.#refuse(`is not in known_hosts; its host key is ${keyType(key)} ${print}`);
    }
  }

  async #learn(key: Buffer): Promise<boolean> {
    if (this.#file === null)
      return this.#refuse(`is not among the given known hosts; its host key is ${fingerprint(key)}`);
    await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 });
    await appendFile(
      this.#file,
      `${knownName(this.#uri.host, this.#port)} ${keyType(key)} ${key.toString("base64")}\n`,
      { mode: 0o600 },
    );
    return true;
  }

  #refuse(reason: string): false {
    this.refusal = new ConnectError("host-key", `${knownName(this.#uri.host, this.#port)} ${reason}`);
    return false;
  }
}

function policyOf(uri: ConnectionUri): Policy {
  const noVerify = uri.parameters.get("no_verify");
  if (noVerify !== undefined && noVerify !== "0" && noVerify !== "") return "ignore";
  const text = uri.parameters.get("known_hosts_verify") ?? "normal";
  if (text === "normal" || text === "auto" || text === "ignore") return text;
  throw new ConnectError("uri", `unknown known_hosts_verify=${text} (normal, auto and ignore exist)`);
}

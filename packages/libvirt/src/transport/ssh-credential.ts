// How we prove who we are over SSH: agent, private keys, password, in this order, as OpenSSH does.
import { readFile } from "node:fs/promises";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import { ConnectError } from "#rpc/error.ts";
import type { AnyAuthMethod, utils as SshUtils } from "ssh2";
import type { ConnectionUri } from "./uri.ts";

export interface SshOptions {
  /** PEM or OpenSSH text. Without it, ?keyfile= or the usual files in ~/.ssh are tried. */
  readonly privateKey?: string | Uint8Array;
  readonly passphrase?: string;
  readonly password?: string;
  /** Path of the agent's socket; false for none. Default: SSH_AUTH_SOCK. */
  readonly agent?: string | false;
  /** Text in known_hosts format that holds the only accepted keys; else ?known_hosts= or the user's and system's files. */
  readonly knownHosts?: string;
  /** Accepts exactly the host key with this fingerprint ("SHA256:…"), whatever known_hosts says. */
  readonly hostKeyFingerprint?: string;
}

/** OpenSSH's default identities that ssh2 can use. */
const IDENTITIES = ["id_ed25519", "id_ecdsa", "id_rsa"];

export interface Credentials {
  readonly username: string;
  readonly methods: AnyAuthMethod[];
  /** Keys that could not be used, and why: for the error text. */
  readonly notes: readonly string[];
}

export async function sshCredentials(
  uri: ConnectionUri,
  options: SshOptions,
  parseKey: typeof SshUtils.parseKey,
): Promise<Credentials> {
  const username = uri.user ?? userInfo().username;
  const allowed = uri.parameters.get("sshauth")?.split(",");
  const isAllowed = (method: string): boolean => allowed === undefined || allowed.includes(method);
  const methods: AnyAuthMethod[] = [];
  const notes: string[] = [];
  const agent = options.agent ?? process.env["SSH_AUTH_SOCK"];
  if (isAllowed("agent") && typeof agent === "string" && agent !== "" && options.privateKey === undefined) {
    methods.push({ type: "agent", username, agent });
  }
  if (isAllowed("privkey")) {
    for (const { name, text } of await privateKeys(uri, options)) {
      const key = parseKey(text, options.passphrase);
      if (key instanceof Error) notes.push(`${name}: ${key.message}`);
      else
        methods.push({
          type: "publickey",
          username,
          key: text,
          ...(options.passphrase === undefined ? {} : { passphrase: options.passphrase }),
        });
    }
  }
  if (options.password !== undefined && (isAllowed("password") || isAllowed("keyboard-interactive"))) {
    const { password } = options;
    methods.push({ type: "password", username, password });
    methods.push({
      type: "keyboard-interactive",
      username,
      prompt: (_name, _text, _lang, prompts, finish) => finish(prompts.map(() => password)),
    });
  }
  if (methods.length === 0) {
    throw new ConnectError(
      "authentication",
      `no SSH key, agent or password to log in to ${uri.host} with${notes.map((note) => `; ${note}`).join("")}`,
    );
  }
  return { username, methods, notes };
}

async function privateKeys(uri: ConnectionUri, options: SshOptions): Promise<{ name: string; text: Buffer }[]> {
  if (options.privateKey !== undefined) return [{ name: "the given key", text: Buffer.from(options.privateKey) }];
  const keyfile = uri.parameters.get("keyfile");
  if (keyfile !== undefined) {
    try {
      return [{ name: keyfile, text: await readFile(keyfile) }];
    } catch (error) {
      throw new ConnectError("authentication", `cannot read the key ${keyfile}`, error);
    }
  }
  const found: { name: string; text: Buffer }[] = [];
  for (const name of IDENTITIES.map((each) => join(homedir(), ".ssh", each))) {
    const text = await readFile(name).catch(() => null);
    if (text !== null) found.push({ name, text });
  }
  return found;
}

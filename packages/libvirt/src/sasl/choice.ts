// Which mechanism: the daemon lists what it offers, the client takes the strongest that it has.
// Names and passwords go out as they were given: the daemon's library (Cyrus SASL 2.1, plugins/scram.c) compares bytes and
// prepares none, so a SASLprep (RFC 4013) on this side alone would lock out what it alters.
import { PlainLogin } from "./plain.ts";
import { ScramLogin, scramHashes } from "./scram.ts";
import type { SaslMechanism } from "./mechanism.ts";

/** Strongest first. PLAIN shows the password to the server, so it is for connections that nobody else can read. */
export const saslMechanismNames: readonly string[] = [...scramHashes.keys(), "PLAIN"];

/** @returns null when none of those offered can be used. */
export function chooseMechanism(offered: readonly string[], allowed: readonly string[]): string | null {
  return saslMechanismNames.find((name) => offered.includes(name) && allowed.includes(name)) ?? null;
}

export function saslMechanism(name: string, userName: string, password: string): SaslMechanism {
  return name === "PLAIN" ? new PlainLogin(userName, password) : new ScramLogin(name, userName, password);
}

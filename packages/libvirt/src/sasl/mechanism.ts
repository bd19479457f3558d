// One login by a mechanism of SASL (RFC 4422); of one use.

export interface SaslMechanism {
  readonly name: string;
  /** What is sent with the mechanism's name. */
  start(): Buffer;
  /** The answer to the server's message; throws SaslError when the server breaks the rules or can't prove itself. */
  step(challenge: Buffer): Promise<Buffer>;
  /** The server may declare the login complete: it has proven what the mechanism has it prove. */
  readonly isComplete: boolean;
}

/** The server did not keep to the mechanism, or could not prove that it knows the password. */
export class SaslError extends Error {
  override readonly name = "SaslError";
}

// SASL PLAIN (RFC 4616): name and password in one message, in clear.
import { SaslError } from "./mechanism.ts";
import type { SaslMechanism } from "./mechanism.ts";

export class PlainLogin implements SaslMechanism {
  readonly name = "PLAIN";
  readonly isComplete = true;
  readonly #message: Buffer;

  constructor(userName: string, password: string) {
    this.#message = Buffer.from(`\0${userName}\0${password}`);
  }

  start(): Buffer {
    return this.#message;
  }

  step(): Promise<Buffer> {
    return Promise.reject(new SaslError("the server asks for more than PLAIN has"));
  }
}

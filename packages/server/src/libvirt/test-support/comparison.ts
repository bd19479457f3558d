/** Makes compared calls, by this client and by python3-libvirt on one daemon, and tells where they differ. */
import { isDeepStrictEqual } from "node:util";
import { type Connection, connect, LibvirtError } from "@innkeeper/libvirt";
import { type ComparedCall, isBetween, parting, plain, twins, withoutIdentity } from "./compared-call.ts";
import { type Outcome, Python } from "./python.ts";

export class Comparison implements AsyncDisposable {
  /** Each with the place where the two part. */
  readonly differences: string[] = [];
  /** What was answered at least once, and not refused only. */
  readonly answered = new Set<string>();
  /** Of the daemon, as all understand it. */
  readonly uri: string;
  readonly connection: Connection;
  readonly python: Python;

  private constructor(uri: string, connection: Connection, python: Python) {
    this.uri = uri;
    this.connection = connection;
    this.python = python;
  }

  static async open(uri: string): Promise<Comparison> {
    return new Comparison(uri, await connect(uri), new Python(uri));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
    await this.python[Symbol.asyncDispose]();
  }

  /** Both see the same of one object; numbers that move lie between two looks of python's. */
  async reads<O>(calls: readonly ComparedCall<O>[], object: O, lookup: string, name: string): Promise<void> {
    for (const call of calls) {
      const variables = { n: JSON.stringify(name), o: lookup };
      const first = await this.python.run(call.python, variables);
      const own = await outcomeOf(call.ours(this.connection.remote, object, this.connection));
      const second = await this.python.run(call.python, variables);
      if ("value" in own) this.answered.add(call.procedure);
      if (!isBetween(own, first, second, call.drifts === true))
        this.#differs(`${call.procedure} of ${name}`, own, first);
    }
  }

  /** Both do the same, each to its twin; then the twins are the same. */
  async changes<O>(
    calls: readonly ComparedCall<O>[],
    objectOf: (name: string) => Promise<O>,
    lookup: string,
  ): Promise<void> {
    const [mine, theirs] = twins;
    const object = await objectOf(mine);
    for (const name of twins) await this.python.keep(name, lookup.replaceAll(/\bn\b/gu, JSON.stringify(name)));
    for (const { procedure, ours, python, look = "None", before } of calls) {
      for (const name of before === undefined ? [] : twins) {
        const outcome = await this.#on(name, before ?? "");
        if ("error" in outcome) throw new Error(`before ${procedure} of ${name}: ${outcome.error.join(" ")}`);
      }
      const own = await outcomeOf(ours(this.connection.remote, object, this.connection));
      const other = await this.#on(theirs, python);
      if ("value" in own) this.answered.add(procedure);
      this.#same(`${procedure}: outcome`, own, other);
      this.#same(`${procedure}: effect`, await this.#on(mine, look), await this.#on(theirs, look));
    }
  }

  #same(what: string, own: unknown, other: unknown): void {
    const [left, right] = [withoutIdentity(own), withoutIdentity(other)];
    if (!isDeepStrictEqual(left, right)) this.#differs(what, left, right);
  }

  #differs(what: string, own: unknown, python: unknown): void {
    this.differences.push(`${what}: ${parting(own, python)}`);
  }

  #on(name: string, code: string): Promise<Outcome> {
    return this.python.run(code, { n: JSON.stringify(name), o: name });
  }
}

async function outcomeOf(call: Promise<unknown>): Promise<Outcome> {
  try {
    return { value: plain(await call) };
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    return { error: [error.code, error.domain, error.message] };
  }
}

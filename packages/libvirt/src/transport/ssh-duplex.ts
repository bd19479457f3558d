// One SSH channel as a plain duplex stream. What the far side writes to its error output becomes the text of the error
// when it ends, since that is where virt-ssh-helper and netcat say why they cannot reach the daemon.
import { Duplex } from "node:stream";
import type { ClientChannel } from "ssh2";

const STDERR_MAX = 4_096;

export class SshDuplex extends Duplex {
  readonly #channel: ClientChannel;
  #stderr: string;
  #exit: number | null = null;

  /** @param stderr what came on the error output so far. */
  constructor(channel: ClientChannel, stderr = "") {
    super({ allowHalfOpen: false });
    this.#channel = channel;
    this.#stderr = stderr;
    channel.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) channel.pause();
    });
    channel.stderr.on("data", (chunk: Buffer) => {
      if (this.#stderr.length < STDERR_MAX) this.#stderr += chunk.toString("utf8");
    });
    channel.on("exit", (code: number | null) => (this.#exit = code));
    channel.on("error", (error: Error) => this.destroy(error));
    channel.on("close", () => this.#closed());
  }

  override _read(): void {
    this.#channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#channel.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#channel.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#channel.close();
    done(error);
  }

  #closed(): void {
    const text = this.#stderr.trim();
    if (text !== "" || (this.#exit ?? 0) !== 0)
      this.destroy(
        new Error(
          `the far side ended${this.#exit === null ? "" : ` with status ${this.#exit}`}${text === "" ? "" : `: ${text}`}`,
        ),
      );
    else this.push(null);
  }
}

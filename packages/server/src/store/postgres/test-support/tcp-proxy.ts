/** Between a client and a server on loopback, to stand for a network that fails: cut, silent, or at one moment. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export class TcpProxy implements AsyncDisposable {
  swallowed = 0;
  readonly #server: Server;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #isSilent = false;
  #isCut = false;
  #swallow: string | undefined;

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
    server.on("connection", (client) => this.#join(client));
  }

  static async start(target: number): Promise<TcpProxy> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new TcpProxy(server, target);
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** All connections end, and new ones do, too. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Connections stay and nothing goes through them any more; new ones are the same. */
  silence(): void {
    this.#isSilent = true;
    for (const socket of this.#sockets) socket.pause();
  }

  heal(): void {
    this.#isCut = false;
    this.#isSilent = false;
    for (const socket of this.#sockets) socket.resume();
  }

  /** What the server says to the next message that holds this word gets lost with its connection. */
  swallowAnswerOf(word: string): void {
    this.#swallow = word;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: Socket): void {
    if (this.#isCut) return void client.destroy();
    const server = connect(this.#target, "127.0.0.1");
    let isSwallowing = false;
    client.on("data", (data) => {
      if (this.#swallow !== undefined && data.includes(this.#swallow)) {
        this.#swallow = undefined;
        isSwallowing = true;
      }
      server.write(data);
    });
    server.on("data", (data) => {
      if (!isSwallowing) return void client.write(data);
      this.swallowed++;
      client.destroy();
    });
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(one);
      if (this.#isSilent) one.pause();
      one.on("error", () => undefined);
      one.on("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
  }
}

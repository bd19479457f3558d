/**
 * A VM's console over WebSocket: binary frames both ways. Node's own WebSocket client carries the login in a header.
 * Facts: RFC 6455; undici's WebSocketInit for `headers`.
 */
import { setDefaultCACertificates } from "node:tls";
import type { ApiClient } from "#client.ts";
import { CliError, problemError } from "#cli-error.ts";

export interface ConsoleStream extends AsyncDisposable {
  /** What the console says, in order; ends when it closes. To be read by one reader. */
  readonly output: AsyncIterable<Uint8Array>;
  send(bytes: Uint8Array | string): void;
  close(): void;
}

interface ConsoleOptions {
  readonly vmId: string;
  readonly type?: "serial" | "vnc";
  readonly force?: boolean;
  readonly signal: AbortSignal;
}

const openTimeoutMs = 20_000;

/** Resolves when the console is open; rejects with the server's reason if it is refused. */
export async function openConsole(api: ApiClient, options: ConsoleOptions): Promise<ConsoleStream> {
  options.signal.throwIfAborted();
  const { caCertificate } = api.connection;
  if (caCertificate !== undefined) setDefaultCACertificates([caCertificate]);
  const input = {
    parameters: { vmId: options.vmId },
    query: { type: options.type ?? "serial", ...(options.force === true ? { force: true } : {}) },
  };
  const url = api.url("vmConsole", input);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url, { headers: api.authorization });
  socket.binaryType = "arraybuffer";
  const queue = new ChunkQueue();
  socket.addEventListener("message", (event) => {
    const data: unknown = event.data;
    if (data instanceof ArrayBuffer) queue.push(new Uint8Array(data));
    else if (typeof data === "string") queue.push(new TextEncoder().encode(data));
  });
  socket.addEventListener("close", (event) => {
    // 1000 normal, 1001 going away, 1005 no code: RFC 6455 §7.4.1
    const fine = [1000, 1001, 1005].includes(event.code);
    queue.end(fine ? undefined : new CliError(event.reason || `the console was cut (${event.code})`, { exitCode: 69 }));
  });
  const close = (): void => socket.close(1000);
  options.signal.addEventListener("abort", close, { once: true });
  await opened(socket, api, input, options.signal);
  return {
    output: queue,
    send: (bytes) => socket.send(bytes as Uint8Array<ArrayBuffer> | string),
    close,
    async [Symbol.asyncDispose]() {
      options.signal.removeEventListener("abort", close);
      close();
      await queue.ended;
    },
  };
}

async function opened(
  socket: WebSocket,
  api: ApiClient,
  input: { readonly parameters: { readonly vmId: string } },
  signal: AbortSignal,
): Promise<void> {
  const fate = await new Promise<"open" | "refused" | "late">((resolve) => {
    const timer = setTimeout(() => resolve("late"), openTimeoutMs);
    const settle = (outcome: "open" | "refused") => () => {
      clearTimeout(timer);
      resolve(outcome);
    };
    socket.addEventListener("open", settle("open"), { once: true });
    socket.addEventListener("error", settle("refused"), { once: true });
    socket.addEventListener("close", settle("refused"), { once: true });
  });
  if (fate === "open") return;
  signal.throwIfAborted();
  socket.close();
  if (fate === "late")
    throw new CliError(`the console did not open within ${openTimeoutMs / 1000} s`, { exitCode: 75 });
  throw await refusal(api, input);
}

/** A WebSocket client never sees the answer that refused it: the same request without the upgrade tells the reason. */
async function refusal(api: ApiClient, input: { readonly parameters: { readonly vmId: string } }): Promise<CliError> {
  try {
    const content = await api.download("vmConsole", { ...input, timeoutMs: 10_000 });
    void content.stream[Symbol.asyncIterator]().return?.();
  } catch (error) {
    if (error instanceof CliError && error.detail.code !== "bad_request") return error;
  }
  return problemError({
    type: "/problem/invalid_state",
    title: "The console can't be opened",
    status: 409,
    code: "invalid_state",
    detail: "the console was refused",
    remedy: "See that the VM runs and has a serial console that nobody else holds (--force takes it over).",
  });
}

/** What came and was not read yet. A serial line is slow; a reader that stops is stopped by the end of the process. */
class ChunkQueue implements AsyncIterable<Uint8Array> {
  readonly #chunks: Uint8Array[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #wake: (() => void) | undefined;
  #isOver = false;
  #error: Error | undefined;

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#wake?.();
  }

  end(error: Error | undefined): void {
    this.#isOver = true;
    this.#error = error;
    this.#ended.resolve();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    while (true) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) yield chunk;
      else if (this.#error !== undefined) throw this.#error;
      else if (this.#isOver) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

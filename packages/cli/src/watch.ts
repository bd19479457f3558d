/**
 * The server's change log as it grows (`/watch`, server-sent events): resumed by revision after a lost connection, so no
 * change is missed or told twice. Facts: https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ApiClient } from "#client.ts";
import { CliError } from "#cli-error.ts";

export interface Change {
  readonly revision: number;
  readonly kind: string;
  readonly id: string;
  readonly operation: "put" | "delete";
  readonly resource?: unknown;
}

export interface WatchOptions {
  readonly since?: number | undefined;
  readonly kinds?: readonly string[];
  readonly signal: AbortSignal;
}

const retryLimit = 8;
const retryFirstMs = 250;
/** Of a server that stops, or whose store is away: the next try may find it, or another one in its place. */
const passing: readonly string[] = ["shutting_down", "store_unavailable"];

/** Ends when the signal aborts; throws when the server can't be reached for about a minute, or refuses. */
export async function* watch(api: ApiClient, options: WatchOptions): AsyncGenerator<Change, void, undefined> {
  let since = options.since;
  let failures = 0;
  while (!options.signal.aborted) {
    try {
      const query = {
        ...(since === undefined ? {} : { since }),
        ...(options.kinds === undefined ? {} : { kind: options.kinds.join(",") }),
      };
      const { stream } = await api.download("watch", { query, signal: options.signal });
      let heard = 0;
      for await (const { id, data } of serverSentEvents(stream)) {
        // The first is the server's greeting, which tells only where the log is.
        if (data !== "" || ++heard > 1) failures = 0;
        // Also one without data tells how far the log has come.
        if (id !== undefined) since = Number(id);
        if (data !== "") yield JSON.parse(data) as Change;
      }
    } catch (error) {
      if (options.signal.aborted) return;
      if (error instanceof CliError && error.detail.code !== undefined && !passing.includes(error.detail.code))
        throw error;
      if (failures >= retryLimit) throw error;
    }
    if (failures >= retryLimit) throw new CliError("the server ends every watch at once", { exitCode: 76 });
    // 0.25 s, 0.5 s … 32 s, each with up to half of it again.
    const pauseMs = retryFirstMs * 2 ** failures * (1 + Math.random() / 2);
    failures += 1;
    await delay(pauseMs, undefined, { signal: options.signal }).catch(() => undefined);
  }
}

interface ServerSentEvent {
  readonly id?: string;
  /** Several lines joined; empty: there is only an id. */
  readonly data: string;
}

/** Events and ids; comments and other fields are left out. */
export async function* serverSentEvents(
  stream: AsyncIterable<Uint8Array>,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const decoder = new TextDecoder();
  let buffered = "";
  let data: string[] = [];
  let id: string | undefined;
  for await (const chunk of stream) {
    buffered += decoder.decode(chunk, { stream: true });
    const lines = buffered.split(/\r\n|\n|\r(?!$)/);
    buffered = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0 || id !== undefined) yield { ...(id === undefined ? {} : { id }), data: data.join("\n") };
        data = [];
        id = undefined;
      } else if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
      else if (line.startsWith("id:")) id = line.slice(3).trim();
    }
  }
}

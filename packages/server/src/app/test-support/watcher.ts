/** A client that watches whatever becomes of the servers: it goes to another one, and on from the revision it has seen. */
import { systemClock } from "#core/system-clock.ts";

const retryMs = 50;

export class Watcher implements AsyncDisposable {
  /** Of all changes, in the order in which they came. */
  readonly revisions: number[] = [];
  /** How often it went to a server. */
  connects = 0;
  /** What a server refused it, other than by being away: a loss. */
  readonly refusals: string[] = [];
  readonly #next: () => string | undefined;
  readonly #token: string;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  /** `next`: the URL of a server that is up. */
  constructor(next: () => string | undefined, token: string, since: number) {
    this.#next = next;
    this.#token = token;
    this.revisions.push(since);
    this.#running = this.#run();
  }

  get last(): number {
    return this.revisions.at(-1) ?? 0;
  }

  /** Revisions that did not follow on the one before. */
  gaps(): string[] {
    return this.revisions.flatMap((revision, index) => {
      const before = this.revisions[index - 1];
      return before === undefined || revision === before + 1 ? [] : [`${revision} after ${before}`];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const url = this.#next();
      if (url !== undefined) await this.#follow(url).catch(() => undefined);
      await systemClock.sleep(retryMs, signal).catch(() => undefined);
    }
  }

  async #follow(url: string): Promise<void> {
    this.connects++;
    const headers = { authorization: `Bearer ${this.#token}`, "last-event-id": String(this.last) };
    const response = await fetch(`${url}/api/v1/watch`, { headers, signal: this.#stop.signal });
    if (response.status !== 200) {
      const text = await response.text();
      if (response.status !== 503) this.refusals.push(`${response.status} ${text}`);
      return;
    }
    let rest = "";
    for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const parts = (rest + text).split("\n\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const id = /^id: (\d+)\ndata: /.exec(part)?.[1];
        if (id !== undefined) this.revisions.push(Number(id));
      }
    }
  }
}

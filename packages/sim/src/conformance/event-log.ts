// Events of pools, networks and block jobs in the order in which they come, for the transcript of a part.
import type { Transcript } from "./transcript.ts";

const WAIT_MS = 5_000;

export class EventLog {
  readonly #seen: string[] = [];
  #heard = Promise.withResolvers<void>();

  async listen<Event>(
    events: AsyncIterable<Event> & { readonly ready: Promise<void> },
    describe: (event: Event) => string,
  ): Promise<void> {
    await events.ready;
    void this.#collect(events, describe);
  }

  /** Waits for so many and writes them down. Too few show as what they are. */
  async take(transcript: Transcript, label: string, count: number): Promise<void> {
    const late = AbortSignal.timeout(WAIT_MS);
    const { promise, resolve } = Promise.withResolvers<void>();
    late.addEventListener("abort", () => resolve(), { once: true });
    while (this.#seen.length < count && !late.aborted) {
      await Promise.race([this.#heard.promise, promise]);
      this.#heard = Promise.withResolvers();
    }
    transcript.lines.push(`${label}: ${this.#seen.splice(0).join(", ")}`);
  }

  async #collect<Event>(events: AsyncIterable<Event>, describe: (event: Event) => string): Promise<void> {
    try {
      for await (const event of events) {
        this.#seen.push(describe(event));
        this.#heard.resolve();
      }
    } catch {
      // The connection is closed at the end of the script.
    }
  }
}

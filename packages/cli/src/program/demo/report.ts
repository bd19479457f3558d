/**
 * What the demo says: one line for each step with its time when it has ended, below it what was seen. On a terminal the last
 * line tells what is under way; several steps may be, at once.
 */
import type { Writable } from "node:stream";
import { stepLine } from "#output/progress.ts";
import { cutText, safeText } from "#output/text-width.ts";

/** A step that failed: what was to be done, and why it was not. */
export class StepError extends Error {
  override readonly name = "StepError";
  readonly title: string;

  constructor(title: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.title = title;
  }
}

/**
 * Steps at the same time. When one fails the others are aborted, and waited for: nothing goes on behind the failure that is
 * reported.
 */
export async function together<const T extends readonly ((signal: AbortSignal) => Promise<unknown>)[]>(
  signal: AbortSignal,
  steps: T,
): Promise<{ [K in keyof T]: Awaited<ReturnType<T[K]>> }> {
  const failed = new AbortController();
  const all = AbortSignal.any([signal, failed.signal]);
  const settled = await Promise.allSettled(
    steps.map(async (step) => {
      try {
        return await step(all);
      } catch (error) {
        if (!failed.signal.aborted) failed.abort(error);
        throw error;
      }
    }),
  );
  if (failed.signal.aborted) throw failed.signal.reason;
  return settled.map((each) => (each.status === "fulfilled" ? each.value : undefined)) as {
    [K in keyof T]: Awaited<ReturnType<T[K]>>;
  };
}

interface StepTime {
  readonly title: string;
  readonly durationMs: number;
}

/** Says what was seen, below the step's line. */
export type Note = (text: string) => void;

const lineWidth = 88;

export class Report {
  readonly #stream: Writable & { readonly columns?: number };
  readonly #isTerminal: boolean;
  readonly #active = new Set<string>();
  readonly #ended: StepTime[] = [];

  constructor(stream: Writable & { readonly columns?: number }, isTerminal: boolean) {
    this.#stream = stream;
    this.#isTerminal = isTerminal;
  }

  get ended(): readonly StepTime[] {
    return this.#ended;
  }

  async step<T>(title: string, work: (note: Note) => Promise<T>): Promise<T> {
    const startMs = performance.now();
    const notes: string[] = [];
    this.#active.add(title);
    this.#redraw();
    let mark = "✘";
    try {
      const result = await work((text) => notes.push(text));
      mark = "✔";
      return result;
    } catch (error) {
      throw error instanceof StepError ? error : new StepError(title, error);
    } finally {
      const durationMs = performance.now() - startMs;
      this.#active.delete(title);
      this.#ended.push({ title, durationMs });
      const lines = notes.flatMap((note) => note.trimEnd().split("\n")).map((line) => `    ${safeText(line)}`);
      this.say([stepLine(mark, title, durationMs, lineWidth - 10), ...lines].join("\n"));
    }
  }

  say(text: string): void {
    this.#clear();
    this.#stream.write(`${text}\n`);
    this.#redraw();
  }

  #redraw(): void {
    if (!this.#isTerminal || this.#active.size === 0) return;
    const line = `▸ ${[...this.#active].join(" · ")} …`;
    this.#stream.write(`\r${cutText(line, (this.#stream.columns ?? 80) - 1)}\u001b[K`);
  }

  #clear(): void {
    if (this.#isTerminal) this.#stream.write("\r\u001b[K");
  }
}

/** The summary: what was shown, with the figures. */
export function summaryText(rows: readonly (readonly [what: string, figure: string])[]): string {
  const width = Math.max(...rows.map(([what]) => what.length));
  return rows.map(([what, figure]) => `  ${what.padEnd(width)}  ${figure}`).join("\n");
}

/** Progress for people: a bar that redraws its line on a terminal, a plain line for each new step elsewhere. */
import type { Writable } from "node:stream";
import { formatBytes, formatDurationMs } from "@innkeeper/contract/unit.ts";
import { cutText, padText, safeText, textWidth } from "#output/text-width.ts";

export interface ProgressState {
  /** What it is, e.g. `vm.create web`. */
  readonly title: string;
  /** What it does now. */
  readonly message: string;
  /** 0 to 1; undefined while unknown. */
  readonly fraction: number | undefined;
  readonly remainingMs?: number | undefined;
}

interface ProgressView {
  update(state: ProgressState): void;
  /** Takes the bar away, so that what is printed next stands on its own line. */
  clear(): void;
}

const barWidth = 24;
/** Redrawing more often than that only costs. */
const redrawMs = 80;

export function barText(fraction: number | undefined): string {
  if (fraction === undefined) return "░".repeat(barWidth);
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * barWidth);
  return "█".repeat(filled) + "░".repeat(barWidth - filled);
}

export function progressView(stream: Writable & { readonly columns?: number }, isTerminal: boolean): ProgressView {
  return isTerminal ? new Bar(stream) : new Lines(stream);
}

class Bar implements ProgressView {
  readonly #stream: Writable & { readonly columns?: number };
  #drawnAtMs = 0;
  #drawn = false;

  constructor(stream: Writable & { readonly columns?: number }) {
    this.#stream = stream;
  }

  update({ title, message, fraction, remainingMs }: ProgressState): void {
    const nowMs = performance.now();
    if (this.#drawn && nowMs - this.#drawnAtMs < redrawMs) return;
    this.#drawnAtMs = nowMs;
    this.#drawn = true;
    const percent = fraction === undefined ? "    " : `${String(Math.floor(fraction * 100)).padStart(3)}%`;
    const left = remainingMs === undefined ? "" : ` ${formatDurationMs(remainingMs)} left`;
    const line = `${safeText(title)} ${barText(fraction)} ${percent}${left}  ${safeText(message)}`;
    // \r and CSI K (ECMA-48 EL): the line is drawn over.
    this.#stream.write(`\r${cutText(line, (this.#stream.columns ?? 80) - 1)}\u001b[K`);
  }

  clear(): void {
    if (this.#drawn) this.#stream.write("\r\u001b[K");
    this.#drawn = false;
  }
}

/** What is done sooner needs no words about its progress. */
const quietMs = 1000;

class Lines implements ProgressView {
  readonly #stream: Writable;
  readonly #startMs = performance.now();
  #last = "";

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  update({ title, message }: ProgressState): void {
    const line = `${title}: ${message}`;
    if (message === "" || line === this.#last || performance.now() - this.#startMs < quietMs) return;
    this.#last = line;
    this.#stream.write(`${safeText(line)}\n`);
  }

  clear(): void {
    // Lines stay.
  }
}

/** Passes a file's bytes on and shows how many have gone. */
export async function* countedBytes(
  source: AsyncIterable<Uint8Array>,
  title: string,
  totalBytes: number,
  view: ProgressView,
): AsyncGenerator<Uint8Array, void, undefined> {
  const startMs = performance.now();
  const total = totalBytes > 0 ? formatBytes(totalBytes) : undefined;
  let done = 0;
  let shownTenth = -1;
  for await (const chunk of source) {
    yield chunk;
    done += chunk.length;
    const fraction = totalBytes > 0 ? done / totalBytes : undefined;
    const elapsedMs = performance.now() - startMs;
    const remainingMs =
      fraction === undefined || elapsedMs < 1000 ? undefined : (elapsedMs / fraction) * (1 - fraction);
    // In tenths, so that a log gets ten lines and not one per chunk.
    const tenth = fraction === undefined ? Math.floor(done / 1024 ** 3) : Math.floor(fraction * 10);
    const ofTotal = total === undefined ? "" : ` of ${total}`;
    const message = view instanceof Lines && tenth === shownTenth ? "" : `${formatBytes(done)}${ofTotal}`;
    shownTenth = tenth;
    view.update({ title, message, fraction, remainingMs });
  }
  view.clear();
}

/** Times and titles in one column: a line of a list of steps. */
export function stepLine(mark: string, title: string, durationMs: number | undefined, width: number): string {
  const time = durationMs === undefined ? "" : formatDurationMs(durationMs);
  const room = Math.max(1, width - 2 - textWidth(mark));
  return `${mark} ${padText(cutText(title, room), room)} ${time.padStart(9)}`.trimEnd();
}

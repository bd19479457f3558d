/**
 * What cmdlets print: PowerCLI's tables on a terminal; into a pipe or a file JSON objects, one a line, each as soon as it is
 * there, so that the next cmdlet can take them; with -o what -o says (docs/decisions/, "PowerCLI's verbs").
 */
import type { Invocation } from "#invocation.ts";
import { documentText } from "#output/format.ts";
import { type Column, tableText } from "#output/table.ts";

/** How objects of one kind are shown. */
export interface ObjectKind<T> {
  readonly columns: readonly Column<T>[];
}

export class ObjectWriter {
  readonly #invocation: Invocation;
  readonly #asLines: boolean;
  readonly #objects: { readonly Name: string }[] = [];
  readonly #tables: { readonly kind: unknown; readonly text: (width: number | undefined) => string }[] = [];
  readonly #rows = new Map<unknown, unknown[]>();

  /** `format`: as typed with -o; undefined: by where the output goes. */
  constructor(invocation: Invocation, format: string | undefined) {
    this.#invocation = invocation;
    this.#asLines = format === undefined && !invocation.terminal.outputIsTerminal;
  }

  write<T extends { readonly Name: string }>(kind: ObjectKind<T>, object: T): void {
    const { format, isForPeople } = this.#invocation;
    if (this.#asLines) this.#invocation.print(`${JSON.stringify(object)}\n`);
    else if (format === "name") this.#invocation.print(`${object.Name}\n`);
    else if (isForPeople) this.#row(kind, object);
    this.#objects.push(object);
  }

  #row<T>(kind: ObjectKind<T>, object: T): void {
    const rows = (this.#rows.get(kind) ?? []) as T[];
    if (rows.length === 0) {
      this.#rows.set(kind, rows);
      const columns = kind.columns.filter(({ extra }) => extra !== true || this.#invocation.format === "wide");
      this.#tables.push({ kind, text: (width) => tableText(rows, columns, width, "ruled") });
    }
    rows.push(object);
  }

  /** Tables and documents are printed when all is known. After an error, a document without objects is left out. */
  async end(failed: boolean): Promise<void> {
    const { format, isForPeople, terminal } = this.#invocation;
    if (this.#asLines || format === "name") return;
    if (isForPeople) {
      for (const { text } of this.#tables) this.#invocation.print(text(terminal.width()));
    } else if (this.#objects.length > 0 || !failed) {
      this.#invocation.print(await documentText(format, this.#objects));
    }
  }
}

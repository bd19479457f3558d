/** virsh on a daemon, as people use it, held against what this client was told by the same daemon. */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import type { Connection } from "@innkeeper/libvirt";
import { isBetween, parting, plain } from "./compared-call.ts";
import type { VirshRow } from "./virsh-row.ts";

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export class Virsh {
  readonly #uri: string;
  readonly #folder: string;

  /** @param folder for `FOLDER` in commands. */
  constructor(uri: string, folder: string) {
    this.#uri = uri;
    this.#folder = folder;
  }

  /** What it prints; also that of a command that tells by its exit code, as cpu-compare does. Words are parted by blanks. */
  async run(command: string): Promise<string> {
    const words = command.replaceAll("FOLDER", this.#folder).split(" ");
    const argv = ["--quiet", "--connect", this.#uri, ...words.map((word) => word.replaceAll("\u00a0", " "))];
    const child = spawn("virsh", argv, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, LC_ALL: "C.UTF-8" },
    });
    const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
    if (errors.trim() !== "") throw new Error(`virsh ${command}: ${errors.trim()}`);
    return out;
  }

  /** Where the two part, or nothing. Numbers that move lie between two looks of virsh's. */
  async difference(connection: Connection, row: VirshRow): Promise<string | undefined> {
    for (const command of row.before ?? []) await this.run(command);
    const first = await this.run(row.command);
    const told = plain(await row.told(connection.remote, connection));
    const second = await this.run(row.command);
    const own = comparable(typeof told === "string" ? told.replaceAll("FOLDER", this.#folder) : told);
    const [before, after] = [first, second].map((output) => comparable(read(output, told, row.columns)));
    if (isBetween(own, before, after, row.drifts === true)) return undefined;
    return `${row.procedure}: ${parting(own, before)}`;
  }
}

/** The output in the shape of what is told: a text, labels (only those that are told), or rows. */
function read(output: string, told: unknown, columns: readonly number[] | undefined): unknown {
  if (isRecord(told)) {
    const labels = new Map(
      output.split("\n").map((line) => {
        const [, label = "", value = ""] = /^\s*([^:=]+?)\s*[:=](.*)$/u.exec(line) ?? [];
        return [label, value] as const;
      }),
    );
    return Object.fromEntries(Object.keys(told).map((label) => [label, labels.get(label)]));
  }
  if (!Array.isArray(told)) return output;
  const rows = output.split("\n").map((line) => line.trim().split(/\s+/u));
  return rows
    .filter(([first]) => first !== "")
    .map((row) => (columns === undefined ? row : columns.map((column) => row[column])));
}

/** Values of labels as words, so that a number with its unit is a number still; rows in one order. */
function comparable(value: unknown): unknown {
  if (typeof value === "string") return value.trim();
  if (Array.isArray(value))
    return value.map((row: unknown[]) => row.map(String)).toSorted((a, b) => (a.join() < b.join() ? -1 : 1));
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([label, each]) => [label, String(each).trim().split(/\s+/u)]));
}

// Shape of a generated procedure table.

export type StreamDirection = "read" | "write";
export type Priority = "high" | "low";
/** [number, argument struct, result struct, priority, stream direction as the client sees it] */
export type ProcedureEntry = readonly [
  number: number,
  args: string | null,
  ret: string | null,
  priority: Priority,
  stream?: StreamDirection,
];

export interface Program {
  readonly name: string;
  readonly number: number;
  readonly version: number;
  readonly procedures: Readonly<Record<string, ProcedureEntry>>;
  readonly messages: Readonly<Record<string, readonly [number: number, struct: string]>>;
}

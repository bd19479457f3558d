import type { ProgramContext } from "#program/table.ts";
export async function lab(_argv: readonly string[], _context: ProgramContext): Promise<number> {
  return 1;
}

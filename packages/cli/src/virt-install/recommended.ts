/** Sizes that no option says: what the guest's system should have, said aloud; without a recommendation, refused. */
import type { Guest } from "./guest.ts";
import { refuse } from "./sub-option.ts";

const kibPerMib = 1024;

/** Resolves with a remark if a size was chosen. */
export function chooseMemory({ root, os }: Guest): string | undefined {
  if (root.find("memory") !== undefined) return undefined;
  if (os.memoryMiB === 0) throw refuse("--memory", "--memory is missing.", "Say how many MiB: --memory 2048.");
  for (const name of ["memory", "currentMemory"]) root.ensure(name).text = String(os.memoryMiB * kibPerMib);
  return `Using ${os.names[0]} default --memory ${os.memoryMiB}`;
}

/** The disks that were asked for, or the one that the system should have. */
export function chooseDisks({ os }: Guest, texts: readonly string[]): { texts: readonly string[]; remark?: string } {
  if (texts.length > 0) return { texts };
  if (os.diskGiB === 0) {
    throw refuse("--disk", "--disk is missing.", "Say what it is or how large: --disk size=20, --disk none.");
  }
  const disk = `size=${os.diskGiB}`;
  return { texts: [disk], remark: `Using ${os.names[0]} default --disk ${disk}` };
}

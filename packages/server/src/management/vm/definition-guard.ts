/**
 * Whose a VM's persistent definition is while a task replaces it as a whole: virsh may change it at any moment, and what
 * someone else wrote is neither overwritten nor undone. Invariant: a definition counts as the task's own only if it is
 * what the host showed after the task wrote it (libvirt fills in what it is given); or, when a crash or a lost connection
 * took the answer, if it is what a host makes of what the task meant to write.
 */
import { createHash } from "node:crypto";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { packConfiguration, unpackConfiguration } from "#management/snapshot/snapshot-record.ts";
import type { StepContext } from "#management/task/operation.ts";
import type { DefinitionWitness } from "#virtualization/port.ts";
import { readGuestIfAny } from "./guest-read.ts";

/** What a task is about to replace. */
export interface Replaced {
  readonly hostId: string;
  readonly uuid: string;
  /** Packed domain XML of before. */
  readonly before: string;
}

/** `nobody`: it is as before. */
export type Writer = "nobody" | "task" | "others" | "gone";

type GuardContext = Pick<StepContext<unknown>, "resultIfAny" | "keep">;

/** The name under which the task's own definition is kept: what it means to write (packed), then what the host showed. */
const kept = "definition";
type Kept = { readonly meant: string } | { readonly sha256: string };
/** Innkeeper's own facts are no part of what people define. */
const ownElement = /<innkeeper:vm\b[^>]*?(?:\/>|>[^]*?<\/innkeeper:vm>)/g;

export const leftToOthers =
  "The VM's definition was changed on its host meanwhile (with virsh, or the like): it was left as it is now.";

/** For the driver call that writes the definition. */
export function definitionWitness(context: Pick<GuardContext, "keep">): DefinitionWitness {
  const keep = (own: Kept): Promise<void> => context.keep(kept, own);
  return {
    meant: (xml) => keep({ meant: packConfiguration(xml) }),
    defined: (xml) => keep({ sha256: definitionDigest(xml) }),
  };
}

/** Whether it is still what the task wrote. */
export function isKeptDefinition(context: Pick<GuardContext, "resultIfAny">, xml: string): boolean {
  return context.resultIfAny<{ sha256: string }>(kept)?.sha256 === definitionDigest(xml);
}

export async function writerOf(
  deps: OperationDeps,
  context: GuardContext,
  { hostId, uuid, before }: Replaced,
  call: Call,
): Promise<Writer> {
  const { guest } = deps.providers.get(hostId);
  if ((await readGuestIfAny(guest, uuid, call)) === undefined) return "gone";
  const digest = definitionDigest(await guest.inventory.xml(uuid, { inactive: true }, call));
  const old = unpackConfiguration(before);
  if (digest === definitionDigest(old)) return "nobody";
  const own = context.resultIfAny<Kept>(kept);
  if (own === undefined) return "others";
  if ("sha256" in own) return own.sha256 === digest ? "task" : "others";
  const given = { meant: unpackConfiguration(own.meant), before: old };
  return (await guest.inventory.isOutcome(uuid, given, call)) ? "task" : "others";
}

/** For the moment before the task writes; an attempt that was interrupted may have written already. */
export async function requireUnchanged(
  deps: OperationDeps,
  context: GuardContext & Pick<StepContext<unknown>, "repeated">,
  replaced: Replaced,
  call: Call,
): Promise<void> {
  const writer = await writerOf(deps, context, replaced, call);
  if (writer === "nobody" || (writer === "task" && context.repeated)) return;
  if (writer === "gone") throw new AppError("not_found", "The VM is gone from its host; nothing was done there.");
  const message = "The VM was changed on its host at the same moment; nothing was changed here.";
  throw new AppError("conflict", message, { remedy: "Look at the VM and try again." });
}

/** conflict if a definition that was left to others names a file that the undo would delete. */
export function requireLetGo(xml: string, paths: readonly string[]): void {
  const named = attributeValues(xml);
  const held = paths.filter((each) => named.has(each));
  if (held.length === 0) return;
  const message = `${leftToOthers} It names ${held.join(", ")}, which therefore stay.`;
  throw new AppError("conflict", message, {
    remedy: "Take these disks off the VM (virsh edit), or keep the VM as it is.",
  });
}

/** Five names and numbers are all that a document without a DTD has (XML 1.0 §4.6). */
const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function attributeValues(xml: string): ReadonlySet<string> {
  const values = xml.matchAll(/=\s*(?:'([^']*)'|"([^"]*)")/g);
  return new Set(values.map(([, single, double]) => unescaped(single ?? double ?? "")));
}

function unescaped(value: string): string {
  return value.replaceAll(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (reference, decimal, hexadecimal, name: string) => {
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    if (hexadecimal !== undefined) return String.fromCodePoint(Number.parseInt(hexadecimal, 16));
    return entities[name] ?? reference;
  });
}

function definitionDigest(xml: string): string {
  const text = xml
    .replaceAll(ownElement, "")
    .replaceAll(/>\s+</g, "><")
    .replaceAll(/<metadata(?:\/>|>\s*<\/metadata>)/g, "");
  return createHash("sha256").update(text).digest("hex");
}

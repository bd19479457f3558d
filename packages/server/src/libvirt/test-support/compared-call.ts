/**
 * How a call of ours is compared with python3-libvirt's. `python` is the same call there, `o` its object. A call that
 * only reads is made on one object by both. One that changes something (`look`) is made on twins: by us on the first,
 * by python on the second; then both must look the same. Everything is done on an object that is gone, too: the errors
 * must be the same.
 */
import type { Connection } from "@innkeeper/libvirt";

export type Remote = Connection["remote"];

export interface ComparedCall<O> {
  readonly procedure: string;
  readonly ours: (remote: Remote, object: O, connection: Connection) => Promise<unknown>;
  readonly python: string;
  /** Python's view of a twin afterwards. */
  readonly look?: string;
  /** Done by python on each twin before. */
  readonly before?: string;
  /** Values move while the host runs: they are only held against bounds. */
  readonly drifts?: true;
}

/** For the object's own name in expressions and XML of twins. */
export const twins = ["twin-a", "twin-b"] as const;

/** As python's `plain` shows them. */
export const named = ({ name, uuid }: { readonly name: string; readonly uuid: string }): unknown => [name, uuid];
export const volume = ({
  pool,
  name,
  key,
}: {
  readonly pool: string;
  readonly name: string;
  readonly key: string;
}): unknown => [pool, name, key];

/** `NAME` in XML stands for the twin's name; `n` in python's expressions is it. */
export const filled = (text: string, name: string): string => text.replaceAll("NAME", name);
export const inPython = (text: string): string => `${JSON.stringify(text)}.replace('NAME', n)`;

/** A call that gives nothing but its effect. */
export const effect = <O>(
  procedure: string,
  ours: (remote: Remote, object: O) => Promise<unknown>,
  call: string,
  look: string,
  before?: string,
): ComparedCall<O> => ({
  procedure,
  // Python's calls without a result give 0 or nothing.
  ours: (remote, object) => ours(remote, object).then(() => null),
  python: `(${call}, None)[1]`,
  look,
  ...(before === undefined ? {} : { before }),
});

/** As python's `plain`: integers as text. */
export function plain(value: unknown): unknown {
  if (typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value))) return String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]));
  return value ?? null;
}

/** Equal, or between what python was told before and after. */
export function isBetween(value: unknown, before: unknown, after: unknown, drifts: boolean): boolean {
  if (Array.isArray(value) && Array.isArray(before) && Array.isArray(after))
    return (
      value.length === before.length &&
      value.every((each, index) => isBetween(each, before[index], after[index], drifts))
    );
  if (isRecord(value) && isRecord(before) && isRecord(after)) {
    const names = Object.keys(value);
    return (
      names.length === Object.keys(before).length &&
      names.every((name) => name in before && isBetween(value[name], before[name], after[name], drifts))
    );
  }
  if (value === before || value === after) return true;
  if (![value, before, after].every((each) => typeof each === "string" && /^-?\d+$/u.test(each))) return false;
  const [own = 0n, low = 0n, high = 0n] = [value, ...sorted(String(before), String(after))].map((each) =>
    BigInt(String(each)),
  );
  const slack = drifts ? high / 4n + 4_096n : 0n;
  return own >= low - slack && own <= high + slack;
}

/** Where what we were told parts from what others were told, in words. */
export function parting(own: unknown, other: unknown): string {
  const [left, right] = [JSON.stringify(own), JSON.stringify(other)];
  let at = 0;
  while (left[at] === right[at]) at++;
  const part = (text: string): string => text.slice(Math.max(0, at - 60), at + 100);
  return `${part(left)} is not the other's ${part(right)}`;
}

function sorted(left: string, right: string): [string, string] {
  return BigInt(left) <= BigInt(right) ? [left, right] : [right, left];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Without what tells twins apart, and without what libvirt chooses anew each time. */
export function withoutIdentity(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutIdentity);
  if (isRecord(value))
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withoutIdentity(each)]));
  if (typeof value !== "string") return value;
  return value
    .replaceAll(/twin-[ab]/gu, "twin")
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/gu, "UUID")
    .replaceAll(/\b(id|port|tlsPort|websocket|pid|index)='-?\d+'/gu, "$1='N'")
    .replaceAll(/\/dev\/pts\/\d+/gu, "/dev/pts/N")
    .replaceAll(/domain-\d+-/gu, "domain-N-")
    .replaceAll(/<(c|m|a|b)time>[\d.]+</gu, "<$1time>N<")
    .replaceAll(/\+\d+:\+\d+/gu, "+N:+N");
}

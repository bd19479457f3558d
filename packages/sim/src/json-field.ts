// Values of a declaration in JSON, checked. Each throws with the field that is wrong, in the user's words.

export function object(at: string, value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${at} must be an object`);
  return { ...value };
}

export function array(at: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`${at} must be a list`);
  return value;
}

export function text(at: string, value: unknown): string {
  if (typeof value !== "string") throw new Error(`${at} must be a text`);
  return value;
}

export function number(at: string, value: unknown, most = Number.POSITIVE_INFINITY): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new Error(`${at} must be a number`);
  if (value < 0 || value > most)
    throw new Error(`${at} must be ${most === Number.POSITIVE_INFINITY ? "0 or more" : `0 to ${most}`}`);
  return value;
}

export function whole(at: string, value: unknown, most: number): number {
  const count = number(at, value);
  if (!Number.isInteger(count) || count > most) throw new Error(`${at} must be a whole number of 0 to ${most}`);
  return count;
}

export function refuseUnknown(at: string, given: object, known: readonly string[]): void {
  for (const key of Object.keys(given)) if (!known.includes(key)) throw new Error(`${at}: there is no ${key}`);
}

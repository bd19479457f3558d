/** Requests carry what was given and nothing else: an absent field means "as it is" or "the default". */
export type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The fields that are not undefined. */
export function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;
}

/** The same, but undefined when nothing is left. */
export function anyGiven<T extends object>(fields: T): Given<T> | undefined {
  const object = given(fields);
  return Object.keys(object).length === 0 ? undefined : object;
}

/** undefined for an empty list. */
export function anyOf<T>(items: readonly T[]): T[] | undefined {
  return items.length === 0 ? undefined : [...items];
}

/** Looking for things that may not be there, or go while they are looked at: what the drivers of pools, volumes and networks share. */
import { mapLimited } from "#core/concurrency.ts";
import { isNotFound } from "./error.ts";
import { parallelCalls } from "./session.ts";

/** undefined when the host says that there is no such thing. */
export async function orUndefined<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Descriptions of those that are still there. */
export async function describeAll<Handle, Described>(
  handles: readonly Handle[],
  describe: (handle: Handle) => Promise<Described>,
): Promise<Described[]> {
  const described = await mapLimited(handles, parallelCalls, (handle) => orUndefined(describe(handle)));
  return described.filter((each) => each !== undefined);
}

/**
 * What two hosts share of what libvirt keeps of a guest beside its definition (the folders of firmware variables and TPM
 * states may be mounts of the same export). Invariant: it is proved, by a file that one host made and the other then can't
 * make, which no cache of a network file system hides.
 */
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";

const cleanupMs = 30_000;

/** Those of the files that both hosts have in the same place. */
export async function sharedState(
  { providers }: OperationDeps,
  { sourceId, targetId }: { readonly sourceId: string; readonly targetId: string },
  files: readonly string[],
  call: Call,
): Promise<readonly string[]> {
  if (files.length === 0) return [];
  const hosts = [sourceId, targetId].map((id) => providers.get(id).guest.migration);
  const mark = crypto.randomUUID();
  let seen: readonly string[] = [];
  try {
    for (const host of hosts) seen = await host.markState(files, mark, call);
  } finally {
    const cleanup = { signal: AbortSignal.timeout(cleanupMs) };
    await Promise.allSettled(hosts.map((host) => host.unmarkState(files, mark, cleanup)));
  }
  return seen;
}

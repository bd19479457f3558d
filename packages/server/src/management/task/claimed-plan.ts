/** Planning, in an operation's first step, on what could not be claimed before: the host and the pools that it chooses. */
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { Step, StepContext } from "#management/task/operation.ts";
import { hostClaim, placeClaims } from "#management/task/resource-claim.ts";

interface Place {
  readonly hostId: string;
  /** That it will make. */
  readonly volumes: readonly { readonly poolName: string }[];
}

/** The step `plan`, whose result is the plan. */
export function planStep<Input, P extends object>(
  inventory: Inventory,
  plan: (context: StepContext<Input>) => Promise<P>,
  placeOf: (planned: P) => Place,
): Step<Input> {
  return {
    name: "plan",
    async do(context) {
      const planned: object = await planClaimed(inventory, context, () => plan(context), placeOf);
      return { ...planned };
    },
  };
}

/** Whose place is had by others plans anew once it is free: by then the host may be gone, the pool full. */
export async function planClaimed<P extends object>(
  inventory: Inventory,
  { claim, untilFree }: Pick<StepContext<unknown>, "claim" | "untilFree">,
  plan: () => P | Promise<P>,
  placeOf: (planned: P) => Place,
): Promise<P> {
  for (;;) {
    let planned: P;
    try {
      planned = await plan();
    } catch (error) {
      if (await untilFree(awayHosts(inventory, error))) continue;
      throw error;
    }
    const { hostId, volumes } = placeOf(planned);
    const poolNames = volumes.map(({ poolName }) => poolName);
    if (await claim(placeClaims(inventory, hostId, poolNames))) return planned;
  }
}

/** One that another task connects anew looks as if it were gone. */
function awayHosts(inventory: Inventory, error: unknown): string[] {
  if (!(error instanceof AppError && error.code === "host_unreachable")) return [];
  const hosts = inventory.list("host").filter((host) => host.connectionState !== "connected");
  return hosts.map(({ id }) => hostClaim(id));
}

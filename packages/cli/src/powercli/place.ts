/**
 * Where something is to be, in vSphere's words. Innkeeper has hosts; clusters, resource pools below the root one, folders and
 * datacenters it does not have, so these names mean one host or all of them, and every other name is refused.
 */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import { CliError, tableError } from "#cli-error.ts";
import type { ApiClient } from "#client.ts";
import { rootFolder, rootPool } from "#powercli/object/vm.ts";
import type { Reference } from "#powercli/pipeline.ts";
import { select } from "#powercli/select.ts";

/** vSphere's names of the containers that are the whole inventory (ServiceInstance.rootFolder, Datacenter.vmFolder …). */
const everywhere: readonly string[] = [rootPool, rootFolder, "host", "Datacenters", "Datacenter"];

/** A host, or undefined: any of them. */
export async function placeOf(api: ApiClient, reference: Reference, parameter: string): Promise<Host | undefined> {
  const { text, literal } = reference;
  if (everywhere.some((name) => name.toLowerCase() === text.toLowerCase())) return undefined;
  // The root pool of a host, as vSphere's inventory paths write it.
  const hostName = text.replace(new RegExp(`/${rootPool}$`, "i"), "");
  try {
    const [host, ...others] = await select(api, "host", [{ text: hostName, literal }], { parameter });
    if (others.length === 0) return host;
    throw tableError("conflict", `"${text}" means ${others.length + 1} hosts`, { field: parameter });
  } catch (error) {
    if (!(error instanceof CliError) || error.detail.code !== "not_found") throw error;
    throw tableError("not_found", `there is no host "${hostName}"`, {
      field: parameter,
      remedy: `Name a host (\`inn Get-VMHost\`), or ${rootPool} for any. Innkeeper has no clusters, resource pools, folders or datacenters yet.`,
    });
  }
}

/** Of several parameters that may say it, all that are given must mean the same. */
export async function onePlace(
  api: ApiClient,
  wishes: readonly { readonly parameter: string; readonly text: string | undefined }[],
): Promise<Host | undefined> {
  let chosen: { readonly host: Host; readonly parameter: string } | undefined;
  for (const { parameter, text } of wishes) {
    if (text === undefined) continue;
    const host = await placeOf(api, { text, literal: false }, parameter);
    if (host === undefined) continue;
    if (chosen !== undefined && chosen.host.id !== host.id) {
      throw tableError(
        "invalid_field",
        `${chosen.parameter} is ${chosen.host.name}, but ${parameter} is ${host.name}`,
        {
          field: parameter,
          remedy: "Name one host.",
        },
      );
    }
    chosen = { host, parameter };
  }
  return chosen?.host;
}

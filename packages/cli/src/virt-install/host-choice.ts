/** The hosts that the VM can go to: those that are named, or all that are connected and take new guests. */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { ApiClient } from "#client.ts";
import { tableError } from "#cli-error.ts";
import { listAll } from "#list.ts";
import { find } from "#lookup.ts";
import { refuse } from "./sub-option.ts";
import type { Words } from "./word.ts";

/** Sets --host where --connect names one. */
export async function candidateHosts(api: ApiClient, words: Words): Promise<readonly Host[]> {
  const { items } = await listAll(api, "hostList");
  const uri = words.text("--connect");
  if (uri !== undefined && !words.has("--host")) connectTo(uri, items, words);
  const named = words.text("--host");
  if (named !== undefined) return ofArchitecture([await find(api, "host", named)], words);
  const usable = items.filter((host) => host.connectionState === "connected" && !host.maintenance);
  if (usable.length > 0) return ofArchitecture(usable, words);
  throw tableError("insufficient_resources", "No host is connected that takes new VMs.", {
    field: "--host",
    remedy: "`inn host list` says why; inn host add adds one.",
  });
}

/** The defaults are those of PCs; guests of other machines are made with inn vm create. */
function ofArchitecture(hosts: readonly Host[], words: Words): readonly Host[] {
  const wanted = words.text("--arch") ?? "x86_64";
  const fit = hosts.filter(({ hardware }) => hardware === undefined || hardware.architecture === wanted);
  if (wanted === "x86_64" && fit.length > 0) return fit;
  const found = [...new Set(hosts.map(({ hardware }) => hardware?.architecture ?? "unknown"))].join(", ");
  const message = `--arch ${wanted} is not supported: virt-install's guests here are x86_64, and the hosts ${found}.`;
  throw refuse("--arch", message, "Other machines' guests are made with inn vm create.");
}

/** virt-install's way to say where: the host with that URI, or that name or address in it. */
function connectTo(uri: string, hosts: readonly Host[], words: Words): void {
  const address = addressOf(uri);
  const host = hosts.find(
    (each) => each.uri === uri || (address !== "" && [each.name, addressOf(each.uri)].includes(address)),
  );
  if (host !== undefined) return words.add("--host", host.name);
  // This machine's own libvirt is what the option's default means in virt-install.
  const [only, second] = hosts;
  if (address === "" && only !== undefined && second === undefined) return words.add("--host", only.name);
  const names = hosts.map((each) => each.name).join(", ") || "none";
  throw refuse(
    "--connect",
    `--connect ${uri} is none of the hosts; there are: ${names}.`,
    "Name one with --host, or leave it out.",
  );
}

function addressOf(uri: string): string {
  return /^[a-z+]+:\/\/(?:[^@/]*@)?\[?([^/:\]?]*)/.exec(uri)?.[1] ?? "";
}

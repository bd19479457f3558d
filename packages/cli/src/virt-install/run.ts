/**
 * Runs `inn virt-install`: the words become a request, the server says what it would make of it (--print-xml, --dry-run)
 * or makes it; then the user is brought to its console, or the installation is waited for, as virt-install does it.
 */
import type { VmPreview } from "@innkeeper/contract/resource/vm-document.ts";
import { Invocation, Options } from "#invocation.ts";
import { listAll } from "#list.ts";
import type { Surroundings } from "#verb.ts";
import { buildGuest } from "./build.ts";
import { seedOf } from "./cloud-init.ts";
import { install, type Prepared } from "./create.ts";
import { fleetStorage } from "./fleet-storage.ts";
import { helpText, subOptionHelp } from "./help.ts";
import { candidateHosts } from "./host-choice.ts";
import { hostFacts } from "./host-fact.ts";
import { guestOsTable, type GuestOs } from "./os.ts";
import { chooseOs } from "./os-choice.ts";
import { inOptions, requestOf } from "./request.ts";
import { refuse } from "./sub-option.ts";
import { parseWords, type Words } from "./word.ts";
import { checkWords } from "./word-check.ts";

interface Parts extends Surroundings {
  readonly argv: readonly string[];
  readonly version: string;
}

/** Resolves with the exit code. */
export async function runVirtInstall({ argv, version, ...surroundings }: Parts): Promise<number> {
  const rest = argv.slice(1);
  const { output } = surroundings.terminal;
  const words = parseWords(rest);
  const text = rest.length === 0 || words.has("--help") ? helpText : informationOf(words, version);
  if (text !== undefined) {
    output.write(text);
    return 0;
  }
  checkWords(words);
  const options = new Options({
    output: "table",
    ...(words.has("--server") && { server: words.text("--server") }),
    ...(words.has("--timeout") && { timeout: words.text("--timeout") }),
  });
  using invocation = new Invocation({ ...surroundings, options });
  const prepared = await prepare(invocation, words);
  const step = printStep(words);
  if (step !== undefined || words.has("--dry-run")) return await preview(invocation, prepared, step);
  return await install(invocation, words, prepared);
}

function informationOf(words: Words, version: string): string | undefined {
  if (words.has("--version")) return `inn ${version}, with the options of virt-install 4.1\n`;
  if (words.text("--os-variant") === "list") {
    return `${guestOsTable()
      .map((os) => os.names.join(", "))
      .join("\n")}\n`;
  }
  return subOptionHelp(words);
}

async function prepare(invocation: Invocation, words: Words): Promise<Prepared> {
  const { api } = invocation;
  const seed = seedOf(words);
  const hosts = await candidateHosts(api, words);
  const facts = hostFacts(hosts);
  const { os, remarks } = chooseOs(words);
  const name = words.text("--name") ?? "";
  const built = buildGuest(words, facts, os, name);
  const { guest } = built;
  if (guest.name === "") guest.name = await freeName(invocation, os);
  if (name === "") guest.remarks.push(`Using default --name ${guest.name}`);
  const request = await requestOf(built, words, fleetStorage(api, hosts));
  const isQuiet = words.has("--quiet") || printStep(words) !== undefined;
  const said = isQuiet ? [] : [...generalRemarks(words, facts.kvm), ...remarks, ...guest.remarks];
  for (const remark of said) invocation.remark(`${remark}\n`);
  return { built, request, seed };
}

function generalRemarks(words: Words, kvm: boolean): string[] {
  const remarks: string[] = [];
  if (words.has("--os-type")) remarks.push("--os-type is deprecated and decides nothing where --osinfo is given.");
  if (words.has("--prompt")) remarks.push("--prompt mode is no longer supported.");
  if (words.has("--debug")) remarks.push("--debug shows nothing here: inn task show tells what was done.");
  if (words.has("--check") || words.has("--force")) {
    remarks.push("--check and --force loosen nothing: what Innkeeper checks would harm another VM.");
  }
  if (words.text("--wait") === "0") remarks.push("Treating --wait 0 as --noautoconsole");
  if (!kvm && !words.has("--virt-type")) remarks.push("KVM acceleration not available, using 'qemu'");
  return remarks;
}

/** debian11, debian11-2 …; vm1, vm2 … for what nothing is known of. */
async function freeName({ api }: Invocation, os: GuestOs): Promise<string> {
  const [base = "vm"] = os.names;
  const isGeneric = base === "generic";
  const { items } = await listAll(api, "vmList", { fields: "name" });
  const taken = new Set(items.map((vm) => vm.name));
  for (let number = 1; ; number++) {
    const name = isGeneric ? `vm${number}` : number === 1 ? base : `${base}-${number}`;
    if (!taken.has(name)) return name;
  }
}

function printStep(words: Words): string | undefined {
  const step =
    words.text("--print-step") ?? (words.has("--print-xml") ? (words.text("--print-xml") ?? "all") : undefined);
  if (step === undefined || ["1", "2", "all"].includes(step)) return step;
  throw refuse("--print-xml", `--print-xml ${step}: there are the steps 1, 2 and all.`);
}

async function preview(
  invocation: Invocation,
  { built, request }: Prepared,
  step: string | undefined,
): Promise<number> {
  const call = async (): Promise<VmPreview> => await invocation.api.call("vmPreview", { body: request });
  const { domainXml, installXml } = await inOptions(built.guest, call);
  if (step === undefined) {
    invocation.print("Dry run completed successfully\n");
    return 0;
  }
  if (step === "2" && installXml === undefined) {
    throw refuse("--print-xml", "Requested installation does not have XML step 2.");
  }
  if (step !== "2") invocation.print(installXml ?? domainXml);
  if (step === "2" || (step === "all" && installXml !== undefined)) invocation.print(domainXml);
  return 0;
}

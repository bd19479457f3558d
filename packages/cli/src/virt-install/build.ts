/**
 * From the words of the command line to the guest that they describe: the old forms become the new ones, options with
 * sub-options are applied, defaults follow. Facts: virtinst/virtinstall.py 4.1 (`convert_old_*`).
 */
import { valueError } from "#cli-error.ts";
import { setDefaults } from "./default.ts";
import { addDevice } from "./device.ts";
import { addCdrom, addDisk, addSeedDrive } from "./disk.ts";
import { applyDomainOption, checkArchitecture } from "./domain.ts";
import { Guest } from "./guest.ts";
import type { HostFacts } from "./host-fact.ts";
import { type Installation, installationOf, setBootDevices } from "./install.ts";
import { addNetwork } from "./network.ts";
import { deviceOptions } from "./option/device.ts";
import { domainOptions } from "./option/domain.ts";
import type { GuestOs } from "./os.ts";
import { chooseDisks, chooseMemory } from "./recommended.ts";
import { applyPaths, parseSubOptions, refuse, subOptions } from "./sub-option.ts";
import type { Words } from "./word.ts";

export interface Built {
  readonly guest: Guest;
  readonly installation: Installation;
}

export function buildGuest(words: Words, facts: HostFacts, os: GuestOs, name: string): Built {
  const guest = new Guest(facts, os);
  guest.name = name;
  applyGeneral(guest, words);
  for (const option of Object.keys(domainOptions)) {
    for (const text of domainTexts(words, option)) applyDomainOption(guest, option, text);
  }
  const installation = installationOf(words);
  const disks = chooseDisks(guest, diskTexts(words));
  guest.remarks.push(...[chooseMemory(guest), disks.remark].filter((remark) => remark !== undefined));
  for (const text of disks.texts) addDisk(guest, text);
  if (installation.cdrom !== undefined) {
    addCdrom(guest, installation.cdrom, installation.hasInstallPhase && !os.windows);
  }
  if (installation.hasSeed) addSeedDrive(guest);
  for (const text of networkTexts(words)) addNetwork(guest, text);
  for (const option of Object.keys(deviceOptions)) {
    if (option === "--disk" || option === "--network") continue;
    for (const text of deviceTexts(words, option)) addDevice(guest, option, text);
  }
  setBootDevices(guest, installation);
  setDefaults(guest);
  for (const text of words.texts("--xml")) applyXml(guest, text);
  return { guest, installation };
}

function applyGeneral(guest: Guest, words: Words): void {
  guest.uuid = words.text("--uuid");
  guest.description = words.text("--description");
  checkArchitecture(guest, "--arch", words.text("--arch"));
  checkType(guest, words.text("--virt-type"));
  const machine = words.text("--machine");
  if (machine !== undefined) guest.machine = machine;
}

function checkType({ facts }: Guest, type: string | undefined): void {
  const own = facts.kvm ? "kvm" : "qemu";
  if (type === undefined || type === own) return;
  const why = facts.kvm ? "the hosts run guests under KVM" : "no host runs guests under KVM";
  throw refuse(
    "--virt-type",
    `--virt-type ${type} is not supported: ${why}.`,
    `Leave it out, or say --virt-type ${own}.`,
  );
}

/** Texts of an option with sub-options, the old options' included. */
function domainTexts(words: Words, option: string): string[] {
  const texts = words.texts(option);
  if (option === "--memory" && words.has("--ram")) {
    if (texts.length > 0) throw refuse("--ram", "--ram can't go with --memory.");
    return words.texts("--ram").slice(-1);
  }
  if (option === "--vcpus") return [...texts, ...words.texts("--cpuset").map((set) => `cpuset=${set}`)];
  if (option !== "--features") return texts;
  const off = ["acpi", "apic"].filter((name) => words.has(`--no${name}`));
  if (off.length === 0) return texts;
  if (texts.length > 0)
    throw refuse(`--no${off[0]}`, `--no${off[0]} can't go with --features.`, `Say --features ${off[0]}=off.`);
  return [off.map((name) => `${name}=off`).join(",")];
}

export function diskTexts(words: Words): string[] {
  const disks = words.texts("--disk");
  const [files, sizes] = [words.texts("--file"), words.texts("--file-size")];
  const isOld = files.length > 0 || sizes.length > 0 || words.has("--nonsparse");
  if (words.has("--nodisks")) {
    if (isOld || disks.length > 0) throw refuse("--nodisks", "--nodisks can't go with disks.");
    return ["none"];
  }
  if (isOld && disks.length > 0) throw refuse("--file", "--file, --file-size and --nonsparse can't go with --disk.");
  if (!isOld) return disks;
  return Array.from({ length: Math.max(files.length, sizes.length) }, (_, index) =>
    [
      files[index] === undefined ? "" : `path=${files[index]}`,
      sizes[index] === undefined ? "" : `size=${sizes[index]}`,
      words.has("--nonsparse") ? "sparse=no" : "",
    ]
      .filter((part) => part !== "")
      .join(","),
  );
}

/** Without any the guest gets a card on the network `default`. */
function networkTexts(words: Words): string[] {
  const [networks, bridges, macs] = [words.texts("--network"), words.texts("--bridge"), words.texts("--mac")];
  if (words.has("--nonetworks")) return ["none"];
  if (bridges.length > 0 && networks.length > 0) throw refuse("--bridge", "--bridge can't go with --network.");
  const texts = bridges.length > 0 ? bridges.map((bridge) => `bridge=${bridge}`) : networks;
  return Array.from({ length: Math.max(texts.length, macs.length, 1) }, (_, index) => {
    const mac = macs[index] === undefined ? "" : `,mac=${macs[index]}`;
    return `${texts[index] ?? "default"}${mac}`;
  });
}

function deviceTexts(words: Words, option: string): string[] {
  if (option === "--graphics") return graphicsTexts(words);
  if (option === "--sound") return words.all("--sound").map((text) => text ?? "default");
  return words.texts(option);
}

function graphicsTexts(words: Words): string[] {
  const texts = words.texts("--graphics");
  const isVnc = words.has("--vnc");
  const old = ["--vnc", "--nographics", "--keymap", "--vncport", "--vnclisten"].filter((option) => words.has(option));
  if (old.length === 0) return texts;
  if (texts.length > 0) throw refuse("--graphics", `--graphics can't go with ${old.join(", ")}.`);
  if (isVnc && words.has("--nographics")) throw refuse("--vnc", "--vnc can't go with --nographics.");
  if (words.has("--nographics")) return ["none"];
  if (!isVnc) throw refuse(old[0] ?? "--vnc", `${old.join(", ")} needs --vnc.`);
  const [listen, port, keymap] = [words.text("--vnclisten"), words.text("--vncport"), words.text("--keymap")];
  const parts = [listen && `listen=${listen}`, port && `port=${port}`, keymap && `keymap=${keymap}`];
  return [["vnc", ...parts.filter((part) => part !== undefined && part !== "")].join(",")];
}

const xmlTable = subOptions("xpath.delete - commas\nxpath.set - commas\nxpath.create - commas\nxpath.value - commas");
/** What options or the server decide; a path to it would be without effect. */
const decided =
  /^\.?\/?(@type|@id|name|uuid|metadata|description|devices\/emulator|devices\/(disk|interface)(\[[^\]]*\])?(\/(source|mac|backingStore)\b.*|\/@type)?)$/;

function applyXml(guest: Guest, text: string): void {
  const isNamed = text.startsWith("xpath.");
  const given = isNamed ? parseSubOptions("--xml", text, xmlTable, []) : new Map([["xpath.set", text]]);
  for (const name of ["xpath.set", "xpath.create", "xpath.delete"]) {
    const value = given.get(name) ?? "";
    const path = name === "xpath.set" && !given.has("xpath.value") ? value.replace(/=[^[\]]*$/, "") : value;
    if (!decided.test(path)) continue;
    const message = `${path} is decided by options of their own, or by the host.`;
    throw valueError("--xml", message, "Use --name, --metadata, --disk, --network.");
  }
  applyPaths("--xml", guest.root, given);
}

/**
 * The options for the guest as a whole. Facts: virtinst/cli.py 4.1, the parsers' `_parse` and callbacks; sizes without a
 * unit are KiB in the document, MiB on the command line.
 */
import { valueError } from "#cli-error.ts";
import { XmlElement } from "./element.ts";
import type { Guest } from "./guest.ts";
import { domainOptions } from "./option/domain.ts";
import { refusalReason } from "./refusal.ts";
import { applySubOptions, type Given, integer, onOff, parseSubOptions, refuse, splitWords } from "./sub-option.ts";

type Special = (guest: Guest, given: Given, text: string) => void;

const specials: Readonly<Record<string, Special>> = {
  "--memory": applyMemory,
  "--vcpus": applyVcpus,
  "--cpu": applyCpu,
  "--metadata": applyMetadata,
  "--boot": applyBoot,
  "--features": applyFeatures,
  "--clock": applyClock,
};

export function applyDomainOption(guest: Guest, option: string, text: string): void {
  const definition = domainOptions[option];
  if (definition === undefined) throw new TypeError(`no option ${option}`);
  if (definition.refused !== undefined) {
    throw refuse(option, `${option} is not supported: ${refusalReason(definition.refused)}`);
  }
  if (text === "none" && option !== "--cpu") return;
  const { place, table, first } = definition;
  const words = option === "--cpu" ? withoutFeatures(text) : text;
  const given = parseSubOptions(option, words, table, first);
  if (option === "--sysinfo") return applySysinfo(guest, given);
  specials[option]?.(guest, given, text);
  const holder = new XmlElement("holder");
  const element = place === "" ? guest.root : (guest.root.find(place) ?? holder.add(place));
  applySubOptions(option, element, given, table);
  // What only special values were given for has no element.
  if (holder.children.includes(element) && !isEmpty(element)) guest.root.children.push(element);
}

function isEmpty({ attributes, children, text }: XmlElement): boolean {
  return attributes.size === 0 && children.length === 0 && text === undefined;
}

function setText(guest: Guest, name: string, value: number): void {
  guest.root.ensure(name).text = String(value);
}

function number(element: XmlElement | undefined): number | undefined {
  return element?.text === undefined ? undefined : Number(element.text);
}

/**
 * `memory` is what the guest has at start, and with `maxmemory` the balloon's target below that; with `currentMemory`
 * the names are libvirt's own.
 */
function applyMemory(guest: Guest, given: Given): void {
  const amount = (name: string): number | undefined => {
    if (!given.has(name)) return undefined;
    const mib = integer("--memory", name, given.get(name));
    if (mib <= 0) throw valueError("--memory", `${name} must be a number of MiB above 0, not ${mib}.`);
    return mib * 1024;
  };
  const [memory, current, max] = [amount("memory"), amount("currentMemory"), amount("maxmemory")];
  const size = current === undefined ? max : (max ?? memory);
  const start = current ?? memory;
  if (start !== undefined) setText(guest, "currentMemory", start);
  const known = size ?? number(guest.root.find("memory"));
  const whole = Math.max(known ?? 0, start ?? 0);
  if (whole > 0) setText(guest, "memory", whole);
}

function applyVcpus(guest: Guest, given: Given): void {
  const count = (name: string): number | undefined => {
    if (!given.has(name)) return undefined;
    const vcpus = integer("--vcpus", name, given.get(name));
    if (vcpus <= 0) throw valueError("--vcpus", `${name} must be a number above 0, not ${vcpus}.`);
    return vcpus;
  };
  const [plain, current, max] = [count("vcpu") ?? count("vcpus"), count("vcpu.current"), count("maxvcpus")];
  const most = max ?? plain;
  const online = current ?? (max === undefined ? undefined : plain);
  const vcpu = guest.root.find("vcpu") ?? new XmlElement("vcpu");
  if (most !== undefined) vcpu.text = String(most);
  if (online !== undefined) vcpu.set({ current: online });
  const cpuset = given.get("vcpu.cpuset") ?? given.get("cpuset");
  if (cpuset === "auto") vcpu.set({ placement: "auto" });
  else if (cpuset !== undefined) vcpu.set({ cpuset });
  if (!isEmpty(vcpu) && !guest.root.children.includes(vcpu)) guest.root.children.push(vcpu);
}

const policies: readonly string[] = ["force", "require", "optional", "disable", "forbid"];
const featureWord = /^[+-]./;

/** `+vmx`, `-svm`: features, which may be repeated and are taken out before names are looked up. */
export function withoutFeatures(text: string): string {
  return splitWords(text)
    .filter((word) => !featureWord.test(word) && !policies.includes(word.split("=")[0] ?? ""))
    .map((word) => (/[,"'\\]/.test(word) ? `"${word.replaceAll(/["\\]/g, "\\$&")}"` : word))
    .join(",");
}

function applyCpu(guest: Guest, given: Given, text: string): void {
  const cpu = guest.root.ensure("cpu");
  const model = given.get("model");
  const secure = given.has("secure") && onOff("--cpu", "secure", given.get("secure"));
  if (secure) {
    const remedy = "host-model has all of the host's; or add those that you want: +md-clear,+spec-ctrl,+ssbd.";
    throw refuse(
      "--cpu",
      "--cpu secure=on is not supported: a host's mitigations are not added to named models.",
      remedy,
    );
  }
  if (model !== undefined) applyModel(guest, cpu, model);
  for (const word of splitWords(text)) {
    const [key = "", value] = word.split("=", 2);
    if (featureWord.test(word)) setFeature(cpu, word.slice(1), word.startsWith("+") ? "force" : "disable");
    else if (policies.includes(key) && value !== undefined) setFeature(cpu, value, key);
  }
  if (isEmpty(cpu)) guest.root.remove(cpu);
}

function applyModel(guest: Guest, cpu: XmlElement, typed: string): void {
  const model = typed === "host" ? "host-model" : typed;
  if (model === "default") return;
  guest.cpuIsChosen = true;
  if (["none", "clear", "hv-default"].includes(model)) return;
  if (model === "host-model-only" || model === "host-copy") {
    throw refuse("--cpu", `--cpu ${model} is not supported: the model would be one host's.`, "Use host-model.");
  }
  if (["host-model", "host-passthrough", "maximum"].includes(model)) {
    cpu.set({ mode: model });
    return;
  }
  guest.remarks.push(`--cpu ${model} has only the mitigations of its model (+md-clear and the like add others).`);
  cpu.set({ mode: "custom", match: "exact" });
  cpu.ensure("model").text = model;
}

function setFeature(cpu: XmlElement, name: string, policy: string): void {
  const found = cpu.all("feature").find((feature) => feature.attributes.get("name") === name);
  (found ?? cpu.add("feature", { name })).set({ policy });
}

function applyMetadata(guest: Guest, given: Given): void {
  guest.name = given.get("name") ?? guest.name;
  guest.uuid = given.get("uuid") ?? guest.uuid;
  guest.description = given.get("description") ?? guest.description;
}

const bootDevices: readonly string[] = ["hd", "cdrom", "fd", "network"];

function applyBoot(guest: Guest, given: Given): void {
  const os = guest.root.ensure("os");
  const order = [...given.keys()].filter((name) => bootDevices.includes(name));
  if (order.length > 0) {
    for (const boot of os.all("boot")) os.remove(boot);
    for (const dev of order) os.add("boot", { dev });
  }
  if (given.has("uefi")) guest.wantsUefi = true;
  const type = given.get("os_type");
  if (type !== undefined && type !== "hvm") {
    throw refuse("--boot", `--boot os_type=${type} is not supported: ${refusalReason("!container")}`);
  }
  const machine = given.get("machine");
  if (machine !== undefined) guest.machine = machine;
  checkArchitecture(guest, "--boot", given.get("arch"));
}

export function checkArchitecture(guest: Guest, option: string, architecture: string | undefined): void {
  const { facts } = guest;
  if (architecture === undefined || architecture === facts.architecture) return;
  const message = `${option} ${architecture} is not supported: the hosts are ${facts.architecture}.`;
  throw refuse(option, message, "Name a host of that architecture with --host.");
}

/** Elements that are there unless they are said not to be. */
function applyFeatures(guest: Guest, given: Given): void {
  for (const name of ["acpi", "apic", "pae"]) {
    if (!given.has(name)) continue;
    const features = guest.root.ensure("features");
    if (onOff("--features", name, given.get(name))) features.ensure(name);
    else guest.featuresOff.add(name);
  }
}

/** libvirt knows a tick policy for rtc and pit alone, and takes no notice of others. */
function applyClock(guest: Guest, given: Given): void {
  for (const name of given.keys()) {
    if (/^(platform|hpet|tsc|kvmclock|hypervclock)_tickpolicy$/.test(name)) {
      guest.remarks.push(`--clock ${name} has no effect: libvirt knows it for rtc and pit only.`);
    }
  }
}

/** `host` and `emulate` are modes of <os><smbios>; anything else fills a <sysinfo>. */
function applySysinfo(guest: Guest, given: Given): void {
  const type = given.get("type") ?? "smbios";
  const smbios = (mode: string): void => void guest.root.ensure("os").ensure("smbios").set({ mode });
  if (type === "host" || type === "emulate") return smbios(type);
  if (type === "smbios") smbios("sysinfo");
  const present = guest.root.all("sysinfo").find((each) => each.attributes.get("type") === type);
  const sysinfo = present ?? guest.root.add("sysinfo", { type });
  const uuid = given.get("system.uuid") ?? given.get("system_uuid");
  if (uuid !== undefined) {
    sysinfo.ensure("system").add("entry", { name: "uuid" }, uuid);
    guest.uuid = uuid;
  }
  applySubOptions("--sysinfo", sysinfo, given, domainOptions["--sysinfo"]?.table ?? []);
}

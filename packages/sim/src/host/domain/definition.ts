// A definition as a client sends it becomes the one that libvirt keeps: checked, with everything filled in that QEMU's
// driver of libvirt 9.0 fills in for x86 (qemuDomainDefPostParse, virDomainDefPostParse). Refusals have libvirt's words.
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_NO_NAME,
  VIR_ERR_XML_ERROR,
  VIR_FROM_DOMAIN,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { attributeOf, element, elements, find, leaf, replaceChild, textOf } from "#xml/element.ts";
import { normalUuid, parseDocument } from "#xml/document.ts";
import { completeDevices } from "./device-default.ts";
import { orderDomain } from "./order.ts";
import { kibOf } from "./unit.ts";
import type { Random } from "#host/random.ts";
import type { Element } from "#xml/element.ts";

const MACHINES: Readonly<Record<string, string>> = {
  pc: "pc-i440fx-7.2",
  q35: "pc-q35-7.2",
};
const EMULATOR = "/usr/bin/qemu-system-x86_64";

function xmlError(detail: string): SimError {
  return new SimError(VIR_ERR_XML_ERROR, VIR_FROM_DOMAIN, detail);
}

/** The definition that libvirt would keep, from a client's text. What is left to chance (UUID, MAC addresses) is `random`'s. */
export function readDefinition(text: string, random: Random): Element {
  const domain = parseDocument(text, "(domain_definition)", "domain");
  completeDefinition(domain, random);
  return domain;
}

export function completeDefinition(domain: Element, random: Random): void {
  identity(domain, random);
  domain.attributes.delete("id");
  platform(domain);
  resources(domain);
  processor(domain);
  policy(domain);
  for (const seclabel of elements(domain, "seclabel").filter((each) => each.attributes.get("type") === "dynamic"))
    domain.children.splice(domain.children.indexOf(seclabel), 1);
  replaceChild(domain, "resource", undefined);
  const devices = find(domain, "devices") ?? element("devices");
  replaceChild(domain, "devices", devices);
  if (find(devices, "emulator") === undefined) devices.children.push(leaf("emulator", EMULATOR));
  completeDevices(domain, devices, random);
  orderDomain(domain);
}

function identity(domain: Element, random: Random): void {
  const type = domain.attributes.get("type");
  if (type === undefined) throw xmlError("missing domain type attribute");
  if (type !== "qemu" && type !== "kvm")
    throw new SimError(
      VIR_ERR_CONFIG_UNSUPPORTED,
      VIR_FROM_DOMAIN,
      `could not find capabilities for domaintype=${type} `,
    );
  const name = textOf(domain, "name");
  if (name === undefined || name === "") throw new SimError(VIR_ERR_NO_NAME, VIR_FROM_DOMAIN);
  if (name.includes("/")) throw xmlError(`name ${name} cannot contain '/'`);
  const given = textOf(domain, "uuid");
  const uuid = given === undefined ? random.uuid() : normalUuid(given);
  if (uuid === undefined) throw xmlError("malformed uuid element");
  replaceChild(domain, "uuid", leaf("uuid", uuid));
}

function platform(domain: Element): void {
  const os = find(domain, "os");
  const type = find(os, "type");
  if (os === undefined || type === undefined) throw xmlError("an os <type> must be specified");
  const system = textOf(type)?.trim();
  if (system !== "hvm")
    throw new SimError(
      VIR_ERR_CONFIG_UNSUPPORTED,
      VIR_FROM_DOMAIN,
      `could not find capabilities for ostype=${system ?? ""} `,
    );
  const arch = type.attributes.get("arch") ?? "x86_64";
  if (arch !== "x86_64" && arch !== "i686")
    throw new SimError(VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_DOMAIN, `could not find capabilities for arch=${arch} `);
  const machine = type.attributes.get("machine") ?? "pc";
  type.attributes.clear();
  type.attributes.set("arch", arch).set("machine", MACHINES[machine] ?? machine);
  const hasOrder = elements(find(domain, "devices")).some((device) => find(device, "boot") !== undefined);
  if (!hasOrder && find(os, "boot") === undefined && find(os, "kernel") === undefined)
    os.children.push(element("boot", { dev: "hd" }));
}

function resources(domain: Element): void {
  const memory = kibOf(find(domain, "memory"));
  if (memory === undefined || memory === 0n)
    throw xmlError("Memory size must be specified via <memory> or in the <numa> configuration");
  const current = kibOf(find(domain, "currentMemory")) ?? memory;
  replaceChild(domain, "memory", leaf("memory", memory, { unit: "KiB" }));
  replaceChild(domain, "currentMemory", leaf("currentMemory", current > memory ? memory : current, { unit: "KiB" }));
  const vcpu = find(domain, "vcpu") ?? leaf("vcpu", 1);
  const count = Number(textOf(vcpu)?.trim() ?? "1");
  if (!Number.isInteger(count) || count < 1) throw xmlError("maximum vcpus count must be an integer");
  const wanted = vcpu.attributes.get("current");
  if (wanted !== undefined && Number(wanted) > count)
    throw new SimError(
      VIR_ERR_XML_ERROR,
      VIR_FROM_DOMAIN,
      `maxvcpus must not be less than current vcpus (${count} < ${wanted})`,
    );
  const { placement = "static", cpuset, current: present } = Object.fromEntries(vcpu.attributes);
  const isFull = present === undefined || Number(present) === count;
  const attributes = { placement, cpuset, current: isFull ? undefined : present };
  replaceChild(domain, "vcpu", element("vcpu", attributes, [String(count)]));
}

function processor(domain: Element): void {
  const cpu = find(domain, "cpu");
  if (cpu === undefined) {
    const model = leaf("model", "qemu64", { fallback: "forbid" });
    domain.children.push(element("cpu", { mode: "custom", match: "exact", check: "none" }, [model]));
    return;
  }
  const given = Object.fromEntries(cpu.attributes);
  const model = find(cpu, "model");
  const mode = given["mode"] ?? (model === undefined ? undefined : "custom");
  const check = given["check"] ?? (mode === "host-model" ? "partial" : mode === undefined ? undefined : "none");
  const match = mode === "custom" ? (given["match"] ?? "exact") : undefined;
  const migratable = mode === "host-passthrough" || mode === "maximum" ? (given["migratable"] ?? "on") : undefined;
  cpu.attributes.clear();
  for (const [key, value] of Object.entries({ mode, match, check, migratable }))
    if (value !== undefined) cpu.attributes.set(key, value);
  if (mode === "custom" && model !== undefined && !model.attributes.has("fallback"))
    model.attributes.set("fallback", "allow");
}

function policy(domain: Element): void {
  if (find(domain, "clock") === undefined) domain.children.push(element("clock", { offset: "utc" }));
  const defaults = { on_poweroff: "destroy", on_reboot: "restart", on_crash: "destroy" };
  for (const [name, value] of Object.entries(defaults))
    if (find(domain, name) === undefined) domain.children.push(leaf(name, value));
}

/** What a live guest may not become by a redefinition or a migration (virDomainDefCheckABIStability, first checks). */
export function checkAbi(source: Element, target: Element): void {
  same("uuid", textOf(source, "uuid"), textOf(target, "uuid"));
  same("max memory", textOf(source, "memory"), textOf(target, "memory"));
  same("vCPU max", textOf(source, "vcpu"), textOf(target, "vcpu"));
  same("OS type arch", attributeOf(source, "os", "type", "arch"), attributeOf(target, "os", "type", "arch"));
}

function same(what: string, from: string | undefined, to: string | undefined): void {
  if (from === to) return;
  const detail = `Target domain ${what} ${to ?? ""} does not match source ${from ?? ""}`;
  throw new SimError(VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_DOMAIN, detail);
}

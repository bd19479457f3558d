/**
 * The options that make a device each, but for disks and network cards. Facts: virtinst/cli.py 4.1, the parsers'
 * `_parse` and callbacks.
 */
import { valueError } from "#cli-error.ts";
import { applyBootOrder } from "./boot-order.ts";
import { XmlElement } from "./element.ts";
import type { DefaultDevice, Guest } from "./guest.ts";
import { type DeviceOption, deviceOptions } from "./option/device.ts";
import { refusalReason } from "./refusal.ts";
import { applySubOptions, type Given, integer, parseSubOptions, refuse } from "./sub-option.ts";

/** Options for which `none` keeps the default device away; for the others it says nothing. */
const withoutDefault: Readonly<Record<string, DefaultDevice>> = {
  "--graphics": "graphics",
  "--console": "console",
  "--channel": "channel",
  "--sound": "sound",
  "--redirdev": "redirdev",
  "--rng": "rng",
  "--tpm": "tpm",
};
/** Options for which `none` is a model like any other. */
const noneIsModel: readonly string[] = ["--memballoon", "--vsock", "--serial", "--parallel"];

/** Values of `type`, `model` and so on that stand for what is said by saying nothing. */
const defaultable: readonly string[] = ["type", "model", "model.type", "bus", "action", "mode", "backend.type"];

type Special = (guest: Guest, element: XmlElement, given: Given) => void;

const specials: Readonly<Record<string, Special>> = {
  "--graphics": applyGraphics,
  "--controller": applyController,
  "--serial": applyTarget,
  "--parallel": applyTarget,
  "--channel": applyTarget,
  "--console": applyTarget,
};

export function addDevice(guest: Guest, option: string, text: string): void {
  const definition = deviceOptions[option];
  if (definition === undefined) throw new TypeError(`no device option ${option}`);
  if (definition.refused !== undefined) {
    throw refuse(option, `${option} is not supported: ${refusalReason(definition.refused)}`);
  }
  if (text === "none" && !noneIsModel.includes(option)) {
    const device = withoutDefault[option];
    if (device !== undefined) guest.without.add(device);
    return;
  }
  if (option === "--controller" && (text === "usb2" || text === "usb3")) return addUsbControllers(guest, text);
  const given = withoutDefaults(translated(option, parse(option, text, definition)));
  if (given.has("num_pcie_root_ports")) {
    if (given.size > 1) throw refuse(option, "--controller num_pcie_root_ports stands alone.");
    guest.rootPortCount = integer(option, "num_pcie_root_ports", given.get("num_pcie_root_ports"));
    return;
  }
  const element = new XmlElement(definition.element);
  applySubOptions(option, element, given, definition.table);
  specials[option]?.(guest, element, given);
  guest.devices.children.push(element);
  applyBootOrder(guest, option, element, given);
}

function parse(option: string, text: string, { table, first }: DeviceOption): Given {
  return parseSubOptions(option, text, table, first);
}

/** Short forms that mean something else than the first name. */
function translated(option: string, given: Given): Given {
  const move = (from: string, to: string): void => {
    const value = given.get(from);
    given.delete(from);
    given.set(to, value);
  };
  if (option === "--tpm" && given.get("type")?.startsWith("/") === true) move("type", "backend.device.path");
  if (option === "--rng" && given.get("backend.model")?.startsWith("/") === true) {
    move("backend.model", "backend");
    given.set("backend.model", "random");
  }
  if (option === "--panic" && given.size === 1 && given.get("model")?.startsWith("0x") === true) {
    move("model", "address.iobase");
    given.set("model", "isa");
  }
  return given;
}

function withoutDefaults(given: Given): Given {
  for (const name of defaultable) if (given.get(name) === "default") given.delete(name);
  return given;
}

function applyGraphics(_guest: Guest, element: XmlElement, given: Given): void {
  const type = given.get("type");
  if (type !== undefined && type !== "vnc" && type !== "spice") {
    throw refuse("--graphics", `--graphics type=${type} is not supported: ${refusalReason("!display")}`);
  }
  if (type !== undefined) element.set({ type });
  for (const [name, attribute] of [
    ["port", "port"],
    ["tlsPort", "tlsPort"],
    ["tlsport", "tlsPort"],
  ] as const) {
    if (!given.has(name)) continue;
    const port = integer("--graphics", name, given.get(name));
    if (port < 5900 && port !== -1) throw valueError("--graphics", `${name} must be 5900 or more, or -1, not ${port}.`);
    element.set({ [attribute]: port });
  }
  const listen = given.get("listen");
  if (listen === "none") element.add("listen", { type: "none" });
  else if (listen === "socket") element.add("listen", { type: "socket" });
  else if (listen !== undefined) element.set({ listen });
  const keymap = given.get("keymap");
  if (keymap !== undefined && !["", "local", "none"].includes(keymap.toLowerCase())) element.set({ keymap });
}

function applyController(_guest: Guest, element: XmlElement, given: Given): void {
  const address = given.get("address");
  if (address === undefined) return;
  const match = /^(?:([\da-fx]+):)?([\da-fx]+):([\da-fx]+)\.([\da-fx]+)$/i.exec(address);
  if (match === null) throw valueError("--controller", `address must be [DOMAIN:]BUS:SLOT.FUNCTION, not "${address}".`);
  const [, domain = "0", bus = "", slot = "", fn = ""] = match;
  element.ensure("address").set({ type: "pci", domain, bus, slot, function: fn });
}

/** `target.address=10.0.2.1:8080`. */
function applyTarget(_guest: Guest, element: XmlElement, given: Given): void {
  const text = given.get("target.address") ?? given.get("target_address");
  if (text === undefined) return;
  const [, host = "", port] = /^(.*?)(?::(\d+))?$/.exec(text) ?? [];
  element.ensure("target").set({ address: host, ...(port !== undefined && { port }) });
}

export function addUsbControllers(guest: Guest, kind: "usb2" | "usb3"): void {
  if (kind === "usb3") {
    // 15 ports are the most that QEMU has.
    guest.devices.add("controller", { type: "usb", model: "qemu-xhci", ports: 15 });
    return;
  }
  guest.devices.add("controller", { type: "usb", model: "ich9-ehci1" });
  for (const [index, startport] of [0, 2, 4].entries()) {
    guest.devices.add("controller", { type: "usb", model: `ich9-uhci${index + 1}` }).add("master", { startport });
  }
}

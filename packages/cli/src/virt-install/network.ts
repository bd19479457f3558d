/** --network: an element, and what it is attached to. Facts: virtinst/cli.py ParserNetwork (4.1). */
import { applyBootOrder } from "./boot-order.ts";
import { XmlElement } from "./element.ts";
import type { Guest } from "./guest.ts";
import { deviceOptions } from "./option/device.ts";
import { refusalReason } from "./refusal.ts";
import { applySubOptions, type Given, onOff, parseSubOptions, refuse } from "./sub-option.ts";
import type { NicWish } from "./wish.ts";

export function addNetwork(guest: Guest, typed: string): void {
  if (typed === "none") return;
  // network:NAME and bridge:NAME are the oldest form.
  const text = typed.replace(/^(network|bridge):/, "$1=");
  const table = deviceOptions["--network"]?.table ?? [];
  const given = parseSubOptions("--network", text, table, ["type"]);
  const element = new XmlElement("interface");
  applySubOptions("--network", element, given, table);
  applyLink(element, given);
  guest.devices.children.push(element);
  applyBootOrder(guest, "--network", element, given);
  const mac = given.get("mac.address") ?? given.get("mac");
  guest.nics.push({
    element,
    ...attachment(given),
    ...(mac !== undefined && mac !== "RANDOM" && { mac: mac.toLowerCase() }),
  });
}

function attachment(given: Given): Pick<NicWish, "network" | "bridge"> {
  const type = given.get("type") ?? (given.has("network") ? "network" : given.has("bridge") ? "bridge" : "default");
  if (given.has("network") && given.has("bridge")) {
    throw refuse("--network", "--network takes one of network and bridge.");
  }
  const source = given.get("source") ?? given.get(type === "bridge" ? "bridge" : "network");
  if (type === "default") return { network: "default" };
  if (type !== "network" && type !== "bridge") {
    throw refuse("--network", `--network type=${type} is not supported: ${refusalReason("!network")}`);
  }
  if (source === undefined || source === "") {
    throw refuse("--network", `--network type=${type} names no ${type}.`, `Say ${type}=NAME.`);
  }
  return { [type]: source };
}

function applyLink(element: XmlElement, given: Given): void {
  const state = given.get("link.state") ?? given.get("link_state");
  if (state === undefined) return;
  const isUp = state === "up" || (state !== "down" && onOff("--network", "link.state", state));
  element.ensure("link").set({ state: isUp ? "up" : "down" });
}

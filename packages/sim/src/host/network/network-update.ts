// Changes of parts of a network's definition (libvirt 9.0 src/conf/network_conf.c virNetworkDefUpdateSection).
import {
  VIR_NETWORK_SECTION_DNS_HOST,
  VIR_NETWORK_SECTION_DNS_SRV,
  VIR_NETWORK_SECTION_DNS_TXT,
  VIR_NETWORK_SECTION_FORWARD_INTERFACE,
  VIR_NETWORK_SECTION_IP_DHCP_HOST,
  VIR_NETWORK_SECTION_IP_DHCP_RANGE,
  VIR_NETWORK_SECTION_PORTGROUP,
  VIR_NETWORK_UPDATE_COMMAND_ADD_FIRST,
  VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
  VIR_NETWORK_UPDATE_COMMAND_DELETE,
  VIR_NETWORK_UPDATE_COMMAND_MODIFY,
} from "@innkeeper/libvirt/generated/network-constant.ts";
import {
  VIR_ERR_INVALID_ARG,
  VIR_ERR_OPERATION_INVALID,
  VIR_ERR_OPERATION_UNSUPPORTED,
  VIR_ERR_XML_ERROR,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { parseAny } from "#xml/document.ts";
import { element, type Element, elements, find } from "#xml/element.ts";
import { networkError, orderNetwork } from "./network-definition.ts";

interface Section {
  /** As it is called in errors. */
  readonly words: string;
  readonly path: readonly string[];
  readonly name: string;
  /** Attributes by which two entries are the same. */
  readonly keys: readonly string[];
  readonly canModify: boolean;
}

const SECTIONS: ReadonlyMap<number, Section> = new Map([
  [
    VIR_NETWORK_SECTION_IP_DHCP_HOST,
    { words: "dhcp host entry", path: ["ip", "dhcp"], name: "host", keys: ["mac", "name", "ip"], canModify: true },
  ],
  [
    VIR_NETWORK_SECTION_IP_DHCP_RANGE,
    { words: "dhcp range entry", path: ["ip", "dhcp"], name: "range", keys: ["start", "end"], canModify: false },
  ],
  [
    VIR_NETWORK_SECTION_FORWARD_INTERFACE,
    { words: "interface entry", path: ["forward"], name: "interface", keys: ["dev"], canModify: false },
  ],
  [
    VIR_NETWORK_SECTION_PORTGROUP,
    { words: "portgroup entry", path: [], name: "portgroup", keys: ["name"], canModify: true },
  ],
  [
    VIR_NETWORK_SECTION_DNS_HOST,
    { words: "DNS HOST record", path: ["dns"], name: "host", keys: ["ip"], canModify: false },
  ],
  [
    VIR_NETWORK_SECTION_DNS_TXT,
    { words: "DNS TXT record", path: ["dns"], name: "txt", keys: ["name"], canModify: false },
  ],
  [
    VIR_NETWORK_SECTION_DNS_SRV,
    { words: "DNS SRV record", path: ["dns"], name: "srv", keys: ["service"], canModify: false },
  ],
]);

/** By virNetworkUpdateSection, for those that can't be changed. */
const FIXED: readonly string[] = ["none", "bridge", "domain", "ip", "", "", "forward", "", "forward pf"];

export interface Update {
  readonly command: number;
  readonly section: number;
  readonly parentIndex: number;
  readonly xml: string;
}

export function updateNetwork(root: Element, network: string, update: Update): void {
  change(root, network, update);
  orderNetwork(root);
}

function change(root: Element, network: string, { command, section, parentIndex, xml }: Update): void {
  const entry = parseAny(xml, "network_update_xml");
  const known = SECTIONS.get(section);
  if (known === undefined) {
    const name = FIXED[section];
    const detail = name
      ? `can't update '${name}' section of network '${network}'`
      : "can't update unrecognized section of network";
    throw networkError(VIR_ERR_OPERATION_UNSUPPORTED, detail);
  }
  if (entry.name !== known.name) {
    const detail = `unexpected element <${entry.name}>, expecting <${known.name}>, while updating network '${network}'`;
    throw networkError(VIR_ERR_XML_ERROR, detail);
  }
  const parent = parentOf(root, known, parentIndex);
  const present = elements(parent, known.name);
  const isFirst = command === VIR_NETWORK_UPDATE_COMMAND_ADD_FIRST;
  switch (command) {
    case VIR_NETWORK_UPDATE_COMMAND_ADD_FIRST:
    case VIR_NETWORK_UPDATE_COMMAND_ADD_LAST:
      if (present.some((each) => sharesKey(each, entry, known.keys))) throw exists(entry, known, network);
      return void insert(parent, entry, isFirst ? present[0] : undefined, present.at(-1));
    case VIR_NETWORK_UPDATE_COMMAND_MODIFY: {
      if (!known.canModify)
        throw networkError(VIR_ERR_OPERATION_UNSUPPORTED, `${known.words}s cannot be modified, only added or deleted`);
      const at = present.find((each) => sharesKey(each, entry, known.keys));
      if (at === undefined) throw missing(known, network);
      parent.children[parent.children.indexOf(at)] = entry;
      return;
    }
    case VIR_NETWORK_UPDATE_COMMAND_DELETE: {
      const at = present.find((each) => agrees(each, entry, known.keys));
      if (at === undefined) throw missing(known, network);
      parent.children.splice(parent.children.indexOf(at), 1);
      return;
    }
    default:
      throw networkError(VIR_ERR_INVALID_ARG, `unrecognized network update command code ${command}`);
  }
}

/** The element that holds the section's entries; made when it is not there. */
function parentOf(root: Element, { path }: Section, parentIndex: number): Element {
  let at = root;
  for (const name of path) {
    const all = elements(at, name);
    let next = name === "ip" && parentIndex >= 0 ? all[parentIndex] : find(at, name);
    if (next === undefined && name === "ip")
      throw networkError(VIR_ERR_OPERATION_INVALID, `couldn't locate an <ip> element with index ${parentIndex}`);
    if (next === undefined) {
      next = element(name);
      at.children.push(next);
    }
    at = next;
  }
  return at;
}

function insert(parent: Element, entry: Element, before: Element | undefined, after: Element | undefined): void {
  const at =
    before !== undefined
      ? parent.children.indexOf(before)
      : after === undefined
        ? parent.children.length
        : parent.children.indexOf(after) + 1;
  parent.children.splice(at, 0, entry);
}

function sharesKey(left: Element, right: Element, keys: readonly string[]): boolean {
  return keys.some((key) => {
    const value = right.attributes.get(key);
    return value !== undefined && left.attributes.get(key) === value;
  });
}

/** All that is named must match. */
function agrees(present: Element, named: Element, keys: readonly string[]): boolean {
  return keys.every((key) => {
    const value = named.attributes.get(key);
    return value === undefined || present.attributes.get(key) === value;
  });
}

function exists(entry: Element, { words, keys, name }: Section, network: string): Error {
  if (words.startsWith("DNS")) {
    const detail = `there is already at least one ${words} with a matching field in network ${network}`;
    return networkError(VIR_ERR_OPERATION_INVALID, detail);
  }
  const shown = keys.map((key) => ` ${key}='${entry.attributes.get(key) ?? "unknown"}'`).join("");
  const detail = `there is an existing ${words} in network '${network}' that matches "<${name}${shown}/>"`;
  return networkError(VIR_ERR_OPERATION_INVALID, detail);
}

function missing({ words }: Section, network: string): Error {
  const who = words.startsWith("DNS") ? network : `'${network}'`;
  return networkError(VIR_ERR_OPERATION_INVALID, `couldn't locate a matching ${words} in network ${who}`);
}

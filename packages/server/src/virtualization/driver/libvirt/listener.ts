/**
 * On which addresses and ports a hypervisor listens for its guests, read from domain XML, and which addresses a host is known to
 * have (libvirt tells none of a host's own). Facts: libvirt 9.0 docs/formatdomain.rst (graphics, character devices, TCP
 * tunnel and UDP network cards), domain_conf.c virDomainGraphicsDefFormat.
 */
import { lookup } from "node:dns/promises";
import { isIPv6 } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type CallOptions, type Connection, parseUri, VIR_CONNECT_LIST_DOMAINS_ACTIVE } from "@innkeeper/libvirt";
import { mapLimited } from "#core/concurrency.ts";
import { isNotFound } from "#libvirt/error.ts";
import { type ReadElement, readXml } from "#libvirt/read-xml.ts";
import { parallelCalls } from "#libvirt/session.ts";
import type { GuestListener } from "#virtualization/migration/port.ts";
import { attribute, child, children, descendants, text, wholeNumber } from "./domain-xml/element.ts";

const resolveMs = 1500;

interface FoundListener extends GuestListener {
  /** It does not take what the host gives it: another host may not have the address, or the port. */
  readonly isFixed: boolean;
  readonly isPortFixed: boolean;
}

/** Ports that libvirt chose are there for a guest that runs; they are not fixed. */
export function listenersOf(root: ReadElement): FoundListener[] {
  const devices = child(root, "devices");
  const found = [
    ...children(devices, "graphics").flatMap(ofGraphics),
    ...descendants(root, "source").flatMap(ofStream),
    ...children(devices, "interface").flatMap(ofCard),
  ];
  // libvirt shows the first serial device once more, as the console.
  return [...Map.groupBy(found, ({ kind, address, port }) => `${kind} ${address} ${port}`).values()].flatMap(
    ([first]) => first ?? [],
  );
}

function ofGraphics(graphics: ReadElement): FoundListener[] {
  const listens = children(graphics, "listen");
  const listen = listens[0];
  const type = attribute(listen, "type");
  if (!["vnc", "spice", "rdp"].includes(attribute(graphics, "type") ?? "")) return [];
  if (type === "socket" || type === "none" || attribute(graphics, "socket") !== undefined) return [];
  // The address of a libvirt network is the target's own.
  const written = type === "network" ? undefined : (attribute(listen, "address") ?? attribute(graphics, "listen"));
  const address = canonicalAddress(written);
  const isAuto = attribute(graphics, "autoport") === "yes";
  const ports = ["port", "tlsPort", "websocket"].flatMap((name) => {
    const port = wholeNumber(attribute(graphics, name));
    return port === undefined || port <= 0 ? [] : [{ port, isFixed: !isAuto || name === "websocket" }];
  });
  const device = `graphics ${attribute(graphics, "type")}`;
  const of = (port: number | undefined, isFixed: boolean): FoundListener => ({
    kind: "graphics",
    device,
    address,
    port,
    isFixed: isFixed || isOfOneHost(address),
    isPortFixed: isFixed,
  });
  return ports.length === 0 ? [of(undefined, false)] : ports.map(({ port, isFixed }) => of(port, isFixed));
}

/** Serial devices, consoles, channels, redirected USB …: <source mode='bind' host= service=/>. */
function ofStream(source: ReadElement): FoundListener[] {
  const owner = source.parentNode as ReadElement;
  const type = attribute(owner, "type");
  const port = wholeNumber(attribute(source, "service"));
  if (attribute(source, "mode") !== "bind" || port === undefined) return [];
  const kind = type === "udp" ? "udp" : "tcp";
  const address = canonicalAddress(attribute(source, "host"));
  return [{ kind, device: owner.nodeName, address, port, isFixed: true, isPortFixed: true }];
}

function ofCard(card: ReadElement): FoundListener[] {
  const type = attribute(card, "type");
  const at = type === "server" ? child(card, "source") : type === "udp" ? child(card, "source/local") : undefined;
  const port = wholeNumber(attribute(at, "port"));
  if (port === undefined) return [];
  const device = `interface ${attribute(child(card, "mac"), "address") ?? ""}`.trim();
  const address = canonicalAddress(attribute(at, "address"));
  return [{ kind: type === "udp" ? "udp" : "tcp", device, address, port, isFixed: true, isPortFixed: true }];
}

/** Neither all addresses of the host, nor one that every host has. */
function isOfOneHost(address: string | undefined): boolean {
  return address !== undefined && !/^(127\.|::1$|localhost$|0\.0\.0\.0$|::$)/.test(address);
}

/** The shortest form of an IPv6 address; `undefined` for none. */
function canonicalAddress(address: string | undefined): string | undefined {
  if (address === undefined || address === "") return undefined;
  return isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address.toLowerCase();
}

/** Of guests that run. */
export async function readListeners(
  remote: Connection["remote"],
  options: CallOptions,
): Promise<(GuestListener & { readonly guest: string })[]> {
  const flags = VIR_CONNECT_LIST_DOMAINS_ACTIVE;
  const { domains } = await remote.connectListAllDomains({ needResults: 1, flags }, options);
  const found = await mapLimited(domains, parallelCalls, async (dom) => {
    const answer = await remote.domainGetXmlDesc({ dom }, options).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
    if (answer === undefined) return [];
    const root = readXml(answer.xml);
    return listenersOf(root).map(({ kind, device, address, port }) => ({
      guest: text(child(root, "name")) ?? dom.name,
      kind,
      device,
      address,
      port,
    }));
  });
  return found.flat();
}

/** By which the control plane reaches it: the name in its URI, and what that name resolves to. */
export async function hostAddresses(uri: string): Promise<string[]> {
  const { host } = parseUri(uri);
  if (host === "") return [];
  const asked = lookup(host, { all: true }).catch(() => []);
  // A resolver that is mute must not hold up a migration: what is not known is told as that.
  const resolved = await Promise.race([asked, delay(resolveMs, [], { ref: false })]);
  return [
    ...new Set([host, ...resolved.map(({ address }) => address)].flatMap((each) => canonicalAddress(each) ?? [])),
  ];
}

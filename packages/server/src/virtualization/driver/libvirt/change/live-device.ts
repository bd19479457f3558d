/**
 * Devices that come to and go from a running guest. A guest must agree to let a device go (PCI hot-unplug): libvirt
 * waits a few seconds and then answers as if all were well, so whether it is gone is looked up.
 */
import { VIR_DOMAIN_AFFECT_LIVE } from "@innkeeper/libvirt";
import type { Clock } from "#core/clock.ts";
import { type Element, parseXml, serializeXml } from "#libvirt/xml.ts";
import { remove, child } from "../domain-xml/element.ts";
import type { LiveGuest, LiveStep } from "./live-step.ts";

/** How long a guest may take to let a device go before the removal is told to wait for the next start. */
const detachDeadlineMs = 15_000;
const detachPollMs = 200;

export function attachStep(guest: LiveGuest, what: string, device: Element): LiveStep {
  return { what: `add ${what}`, run: () => attach(guest, device), undo: () => detach(guest, device) };
}

/** `find` looks the device up in a document of the guest. */
export function detachStep(
  guest: LiveGuest,
  clock: Clock,
  what: string,
  find: (root: Element) => Element | undefined,
): LiveStep[] {
  const device = find(guest.root);
  if (device === undefined) return [];
  const run = async (): Promise<void> => {
    await detach(guest, device);
    const deadline = clock.monotonicMs() + detachDeadlineMs;
    while (clock.monotonicMs() < deadline) {
      const { xml } = await guest.remote.domainGetXmlDesc({ dom: guest.dom }, guest.options);
      if (find(parseXml(xml)) === undefined) return;
      await clock.sleep(detachPollMs, guest.options.signal);
    }
  };
  return [{ what: `remove ${what}`, run, undo: () => attach(guest, device) }];
}

export function updateStep(guest: LiveGuest, what: string, before: Element, edit: (device: Element) => void): LiveStep {
  const after = before.cloneNode(true) as Element;
  edit(after);
  const update = (device: Element) =>
    guest.remote.domainUpdateDeviceFlags(
      { dom: guest.dom, xml: serializeXml(device), flags: VIR_DOMAIN_AFFECT_LIVE },
      guest.options,
    );
  return { what, run: () => update(after), undo: () => update(before) };
}

async function attach({ remote, dom, options }: LiveGuest, device: Element): Promise<void> {
  const copy = device.cloneNode(true) as Element;
  // A slot that was free once need not be free now; aliases and chains are libvirt's own.
  for (const name of ["alias", "address", "backingStore"]) remove(child(copy, name));
  await remote.domainAttachDeviceFlags({ dom, xml: serializeXml(copy), flags: VIR_DOMAIN_AFFECT_LIVE }, options);
}

async function detach({ remote, dom, options }: LiveGuest, device: Element): Promise<void> {
  const xml = serializeXml(device);
  await remote.domainDetachDeviceFlags({ dom, xml, flags: VIR_DOMAIN_AFFECT_LIVE }, options);
}

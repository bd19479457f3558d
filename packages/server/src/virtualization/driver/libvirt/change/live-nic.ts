/** NICs of a running guest: added, removed, cable pulled and plugged, moved to another network. */
import type { Clock } from "#core/clock.ts";
import type { GuestChange } from "#virtualization/port.ts";
import { addedNic } from "../domain-xml/added-device.ts";
import { child, remove } from "../domain-xml/element.ts";
import { nicByMac, setLink, setNetwork } from "../domain-xml/nic.ts";
import { attachStep, detachStep, updateStep } from "./live-device.ts";
import type { LiveGuest, LiveStep } from "./live-step.ts";

export function nicSteps(guest: LiveGuest, clock: Clock, change: GuestChange): LiveStep[] {
  const steps = (change.nicsRemove ?? []).flatMap((mac) =>
    detachStep(guest, clock, `NIC ${mac}`, (root) => nicByMac(root, mac)),
  );
  for (const nic of change.nicsAdd ?? []) {
    const element = addedNic(guest.root, nic, change);
    remove(child(element, "boot"));
    steps.push(attachStep(guest, `NIC ${nic.mac}`, element));
  }
  for (const { mac, linkUp, network } of change.nicsChange ?? []) {
    const nic = nicByMac(guest.root, mac);
    if (nic === undefined) continue;
    const step = updateStep(guest, `NIC ${mac}`, nic, (copy) => {
      if (linkUp !== undefined) setLink(copy, linkUp);
      if (network !== undefined) setNetwork(copy, network);
    });
    steps.push(step);
  }
  return steps;
}

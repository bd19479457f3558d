/** The guest that the options describe, while it is being put together. */
import { XmlElement } from "./element.ts";
import type { HostFacts } from "./host-fact.ts";
import type { GuestOs } from "./os.ts";
import type { DiskWish, NicWish } from "./wish.ts";

/** Devices that are added unless an option says `none`. */
export type DefaultDevice = "graphics" | "console" | "channel" | "sound" | "redirdev" | "rng" | "tpm";

export class Guest {
  readonly root = new XmlElement("domain");
  readonly facts: HostFacts;
  readonly os: GuestOs;
  /** In the order of their elements. */
  readonly disks: DiskWish[] = [];
  readonly nics: NicWish[] = [];
  readonly without = new Set<DefaultDevice>();
  /** acpi, apic, pae: elements that are there by default. */
  readonly featuresOff = new Set<string>();
  /** What the user is to know of what was chosen or has no effect. */
  readonly remarks: string[] = [];
  name = "";
  uuid: string | undefined;
  description: string | undefined;
  /** `--boot uefi`. */
  wantsUefi = false;
  /** `--cpu MODEL`, also a mode that leaves no element. */
  cpuIsChosen = false;
  rootPortCount = 14; // virtinst/guest.py 4.1 num_pcie_root_ports: QEMU 6.1 fails with 15 (qemu issue 641)

  constructor(facts: HostFacts, os: GuestOs) {
    this.facts = facts;
    this.os = os;
    this.root.add("os");
    this.root.add("devices");
  }

  get devices(): XmlElement {
    return this.root.ensure("devices");
  }

  all(device: string): XmlElement[] {
    return this.devices.all(device);
  }

  get machine(): string | undefined {
    return this.root.find("os/type")?.attributes.get("machine");
  }

  set machine(machine: string) {
    this.root.ensure("os/type").set({ machine });
  }

  get isQ35(): boolean {
    return this.machine?.includes("q35") === true;
  }

  get isUefi(): boolean {
    return this.root.find("os")?.attributes.get("firmware") === "efi";
  }

  get hasSpice(): boolean {
    return this.all("graphics").some((graphics) => graphics.attributes.get("type") === "spice");
  }
}

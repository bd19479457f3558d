/** Domain XML → the contract's VmSpec. Total: any domain of any driver is read, what is not there is left out. */
import type { ReadElement } from "#libvirt/read-xml.ts";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { readCpu } from "./cpu.ts";
import { readDisks } from "./disk.ts";
import { attribute, child } from "./element.ts";
import { readHardware } from "./hardware.ts";
import { readMemory } from "./memory.ts";
import { readNics } from "./nic.ts";
import { readOtherHardware } from "./other-hardware.ts";

export function readSpec(root: ReadElement): VmSpec {
  const otherHardware = readOtherHardware(root);
  return {
    domainType: attribute(root, "type") ?? "",
    architecture: attribute(child(root, "os/type"), "arch") ?? "",
    cpu: readCpu(root),
    memory: readMemory(root),
    disks: readDisks(root),
    nics: readNics(root),
    ...readHardware(root),
    ...(otherHardware.length > 0 && { otherHardware }),
  };
}

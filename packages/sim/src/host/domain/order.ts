// The order in which libvirt writes a domain's elements (virDomainDefFormatInternalSetRootName in libvirt 9.0
// src/conf/domain_conf.c). What the lists do not know keeps its place at the end.
import { isElement } from "#xml/element.ts";
import type { Element, Node } from "#xml/element.ts";

const DOMAIN = [
  "name uuid genid title description metadata maxMemory memory currentMemory",
  "blkiotune memtune memoryBacking vcpu vcpus iothreads iothreadids cputune numatune",
  "resource sysinfo os features cpu clock on_poweroff on_reboot on_crash pm perf",
  "devices seclabel keywrap launchSecurity",
].flatMap((line) => line.split(" "));
const DEVICES = [
  "emulator disk controller lease filesystem interface smartcard serial parallel",
  "console channel input tpm graphics sound audio video hostdev redirdev hub",
  "watchdog memballoon rng nvram panic shmem memory iommu vsock",
].flatMap((line) => line.split(" "));
const DISK = [
  "driver auth source backingStore mirror geometry blockio target iotune readonly",
  "shareable transient serial wwn vendor product encryption boot alias address",
].flatMap((line) => line.split(" "));
const INTERFACE = [
  "mac source virtualport ip route script bandwidth vlan port target guest",
  "model driver backend filterref boot tune link mtu coalesce alias address",
].flatMap((line) => line.split(" "));
const TAIL = ["alias", "address"];

export function orderDomain(domain: Element): void {
  sort(domain, DOMAIN);
  for (const devices of domain.children.filter(isElement).filter((each) => each.name === "devices")) {
    sort(devices, DEVICES);
    for (const device of devices.children.filter(isElement)) orderDevice(device);
  }
}

export function orderDevice(device: Element): void {
  if (device.name === "disk") sort(device, DISK);
  else if (device.name === "interface") sort(device, INTERFACE);
  else sort(device, TAIL, -1);
}

/** @param unknown where what is not listed goes: 1 behind, -1 before. */
function sort(parent: Element, names: readonly string[], unknown: 1 | -1 = 1): void {
  const rank = (node: Node): number => {
    const index = isElement(node) ? names.indexOf(node.name) : -1;
    return index === -1 ? unknown * names.length : index;
  };
  parent.children.sort((left, right) => rank(left) - rank(right));
}

/**
 * What a guest gets that no option says: defaults by what its operating system supports and what its host has. Facts:
 * virtinst/guest.py `set_defaults`, virtinst/domain and virtinst/devices `set_defaults`, 4.1.
 */
import { valueError } from "#cli-error.ts";
import { addDefaultDevices, completeDevices } from "./default-device.ts";
import type { Guest } from "./guest.ts";

const libosinfoNamespace = "http://libosinfo.org/xmlns/libvirt/domain/1.0";

export function setDefaults(guest: Guest): void {
  const { root, facts, os } = guest;
  const isX86 = ["x86_64", "i686"].includes(facts.architecture);
  addMetadata(guest);
  setVcpus(guest);
  root.ensure("os/type").text = "hvm";
  if (guest.machine === undefined) guest.machine = facts.q35 && os.q35 ? "q35" : "pc";
  if (guest.wantsUefi || os.needsUefi) root.ensure("os").set({ firmware: "efi" });
  addDefaultDevices(guest);
  setClock(guest);
  setCpu(guest);
  setFeatures(guest);
  if (isX86) {
    const power = root.ensure("pm");
    for (const name of ["suspend-to-mem", "suspend-to-disk"]) {
      const element = power.ensure(name);
      if (!element.attributes.has("enabled")) element.set({ enabled: "no" });
    }
  }
  completeDevices(guest);
}

function addMetadata({ root, os }: Guest): void {
  if (os.id === undefined) return;
  const info = root.ensure("metadata").add("libosinfo:libosinfo", { "xmlns:libosinfo": libosinfoNamespace });
  info.add("libosinfo:os", { id: os.id });
}

/** Count and topology say the same: what is missing of one follows from the other; cores are filled in first. */
function setVcpus({ root, os }: Guest): void {
  const vcpu = root.ensure("vcpu");
  const topology = root.find("cpu/topology");
  const part = (name: string): number => Number(topology?.attributes.get(name) ?? 1);
  const product = (): number => part("sockets") * part("dies") * part("cores") * part("threads");
  const isGiven = vcpu.text !== undefined;
  if (!isGiven) vcpu.text = String(topology === undefined ? os.vcpuCount || 1 : product());
  const count = Number(vcpu.text);
  const current = Number(vcpu.attributes.get("current") ?? count);
  if (current >= count && isGiven) vcpu.attributes.delete("current");
  if (topology === undefined) return;
  for (const name of ["cores", "sockets", "dies", "threads"]) {
    if (!topology.attributes.has(name)) topology.set({ [name]: name === "dies" ? 1 : Math.floor(count / product()) });
  }
  if (product() === count) return;
  const sum = ["sockets", "dies", "cores", "threads"].map((name) => `${name}=${part(name)}`).join(" × ");
  throw valueError("--vcpus", `${sum} is ${product()}, but there are ${count} vCPUs.`);
}

function setClock({ root, os }: Guest): void {
  const clock = root.ensure("clock");
  if (!clock.attributes.has("offset")) clock.set({ offset: os.localTime ? "localtime" : "utc" });
  if (clock.all("timer").length > 0) return;
  clock.add("timer", { name: "rtc", tickpolicy: "catchup" });
  clock.add("timer", { name: "pit", tickpolicy: "delay" });
  clock.add("timer", { name: "hpet", present: "no" });
  if (os.windows) clock.add("timer", { name: "hypervclock", present: "yes" });
}

/** The host's own CPU where KVM can pass it on, unless anything at all was said of the CPU. */
function setCpu({ root, facts, cpuIsChosen }: Guest): void {
  if (!facts.kvm || cpuIsChosen || root.find("cpu") !== undefined) return;
  root.ensure("cpu").set({ mode: "host-passthrough" });
}

function setFeatures(guest: Guest): void {
  const features = guest.root.ensure("features");
  for (const name of ["acpi", "apic"]) if (!guest.featuresOff.has(name)) features.ensure(name);
  if (!guest.os.windows) return;
  const hyperv = features.ensure("hyperv");
  for (const name of ["relaxed", "vapic", "spinlocks"]) {
    const feature = hyperv.ensure(name);
    if (!feature.attributes.has("state")) feature.set({ state: "on" });
  }
  const spinlocks = hyperv.ensure("spinlocks");
  // Microsoft's recommendation, as virt-install has it.
  if (!spinlocks.attributes.has("retries")) spinlocks.set({ retries: 8191 });
}

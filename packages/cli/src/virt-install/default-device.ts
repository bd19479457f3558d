/**
 * Devices that a guest gets unasked, and what devices that were asked for get where nothing is said. Facts:
 * virtinst/guest.py `_add_default_*`, virtinst/devices/*.py `set_defaults`, 4.1, for x86 guests of QEMU.
 */
import { addUsbControllers } from "./device.ts";
import type { XmlElement } from "./element.ts";
import type { Guest } from "./guest.ts";

export function addDefaultDevices(guest: Guest): void {
  const { devices, os, facts, without } = guest;
  const lacks = (name: string): boolean => guest.all(name).length === 0;
  if (lacks("graphics") && !without.has("graphics")) devices.add("graphics");
  const hasGraphics = !lacks("graphics");
  if (lacks("video") && hasGraphics) devices.add("video");
  if (lacks("input") && hasGraphics && !isWithoutUsb(guest)) devices.add("input", { type: "tablet", bus: "usb" });
  if (lacks("console") && lacks("serial") && !without.has("console")) devices.add("console", { type: "pty" });
  if (!guest.all("controller").some((each) => each.attributes.get("type") === "usb")) {
    addUsbControllers(guest, os.usb3 ? "usb3" : "usb2");
  }
  if (lacks("channel") && !without.has("channel") && os.virtioSerial) {
    const channel = devices.add("channel", { type: "unix" });
    channel.add("target", { type: "virtio", name: "org.qemu.guest_agent.0" });
  }
  if (lacks("rng") && !without.has("rng") && os.virtioRng) {
    devices.add("rng").add("backend", { model: "random" }, "/dev/urandom");
  }
  if (lacks("memballoon") && os.virtioBalloon) devices.add("memballoon", { model: "virtio" });
  if (lacks("tpm") && !without.has("tpm") && guest.isUefi && facts.tpm) devices.add("tpm");
}

function isWithoutUsb(guest: Guest): boolean {
  const controllers = guest.all("controller").filter((each) => each.attributes.get("type") === "usb");
  return controllers.length > 0 && controllers.every((each) => each.attributes.get("model") === "none");
}

/** Must run after every device is there: one's default depends on the others. */
export function completeDevices(guest: Guest): void {
  for (const graphics of guest.all("graphics")) completeGraphics(guest, graphics);
  for (const [name, complete] of Object.entries(completions)) {
    for (const element of guest.all(name)) complete(element, guest);
  }
  completeDisks(guest);
  for (const nic of guest.all("interface")) {
    const model = nic.ensure("model");
    if (!model.attributes.has("type")) {
      model.set({ type: guest.os.virtioNetwork ? "virtio" : guest.isQ35 ? "e1000e" : guest.os.nic });
    }
  }
  addScsiController(guest);
  addRootPorts(guest);
  if (guest.hasSpice) addSpiceDevices(guest);
}

type Complete = (element: XmlElement, guest: Guest) => void;

/** Sets what is not set. */
function fill(element: XmlElement, attributes: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && !element.attributes.has(name)) element.set({ [name]: value });
  }
}

const completions: Readonly<Record<string, Complete>> = {
  video: completeVideo,
  input(input) {
    fill(input, { type: "mouse" });
    fill(input, { bus: input.attributes.get("type") === "tablet" ? "usb" : "ps2" });
  },
  sound: (sound, guest) => fill(sound, { model: soundModel(guest) }),
  watchdog: (watchdog) => fill(watchdog, { model: "i6300esb", action: "reset" }),
  rng: (rng) => fill(rng, { model: "virtio" }),
  panic: completePanic,
  vsock(vsock) {
    fill(vsock, { model: "virtio" });
    if (vsock.find("cid") === undefined) vsock.add("cid", { auto: "yes" });
  },
  smartcard(card) {
    fill(card, { mode: "passthrough" });
    fill(card, { type: card.attributes.get("mode") === "passthrough" ? "spicevmc" : "tcp" });
  },
  tpm: completeTpm,
  serial: completeCharacter,
  parallel: completeCharacter,
  console: completeCharacter,
  channel: completeCharacter,
};

function completeGraphics({ facts }: Guest, graphics: XmlElement): void {
  fill(graphics, { type: facts.spice ? "spice" : "vnc" });
  const isSpice = graphics.attributes.get("type") === "spice";
  const listen = graphics.find("listen")?.attributes.get("type");
  if (listen === undefined || listen === "address" || listen === "network") {
    fill(graphics, { port: "-1", tlsPort: isSpice ? "-1" : undefined });
    const isAutomatic = graphics.attributes.get("port") === "-1" && graphics.attributes.get("tlsPort") === "-1";
    if (isSpice && isAutomatic) fill(graphics, { autoport: "yes" });
  }
}

function completeVideo(video: XmlElement, guest: Guest): void {
  const model = video.ensure("model");
  const isAccelerated = guest.all("graphics").some((each) => each.find("gl")?.attributes.get("enable") === "yes");
  fill(model, { type: videoModel(guest, isAccelerated) });
  if (model.attributes.get("type") === "virtio" && isAccelerated)
    fill(model.ensure("acceleration"), { accel3d: "yes" });
}

function videoModel(guest: Guest, isAccelerated: boolean): string {
  const { facts, os } = guest;
  if (guest.hasSpice && isAccelerated) return "virtio";
  if (facts.virtioGpu && os.virtioGpu) return "virtio";
  if (guest.hasSpice && facts.qxl) return "qxl";
  return guest.isUefi && facts.bochs ? "bochs" : "vga";
}

function soundModel(guest: Guest): string {
  return guest.isQ35 ? "ich9" : "ich6";
}

function completePanic(panic: XmlElement): void {
  if (panic.find("address")?.attributes.has("iobase") === true) fill(panic.ensure("address"), { type: "isa" });
  fill(panic, { model: "isa" });
}

function completeTpm(tpm: XmlElement): void {
  const backend = tpm.ensure("backend");
  fill(backend, { type: "emulator" });
  // CRB is TPM 2.0's interface; who names a version is left to libvirt's choice.
  const isPlain = backend.attributes.get("type") === "emulator" && !backend.attributes.has("version");
  if (isPlain) fill(tpm, { model: "tpm-crb" });
}

function completeCharacter(device: XmlElement): void {
  const type = device.attributes.get("type");
  if (type === "unix") fill(device.ensure("source"), { mode: "bind" });
  if (device.name !== "channel") return;
  const target = device.ensure("target");
  fill(target, { type: "virtio" });
  if (type === "spicevmc" || type === "qemu-vdagent") fill(target, { name: "com.redhat.spice.0" });
}

function completeDisks(guest: Guest): void {
  const used = new Set(guest.all("disk").flatMap((disk) => disk.find("target")?.attributes.get("dev") ?? []));
  for (const disk of guest.all("disk")) {
    const target = disk.ensure("target");
    const device = disk.attributes.get("device") ?? "disk";
    fill(target, { bus: diskBus(guest, device) });
    if (device === "cdrom") disk.ensure("readonly");
    if (target.attributes.has("dev")) continue;
    const name = freeTarget(targetPrefix(target.attributes.get("bus") ?? ""), used);
    used.add(name);
    target.set({ dev: name });
  }
}

function diskBus(guest: Guest, device: string): string {
  if (device === "floppy") return "fdc";
  if (device === "disk" && guest.os.virtioDisk) return "virtio";
  return guest.isQ35 ? "sata" : "ide";
}

function targetPrefix(bus: string): string {
  const prefixes: Readonly<Record<string, string>> = { virtio: "vd", fdc: "fd", ide: "hd" };
  return prefixes[bus] ?? "sd";
}

/** vda … vdz, vdaa …: the first after all that are taken. */
function freeTarget(prefix: string, used: ReadonlySet<string>): string {
  const letters = [..."abcdefghijklmnopqrstuvwxyz"];
  const names = [...letters, ...letters.flatMap((first) => letters.map((second) => first + second))];
  const last = names.findLastIndex((name) => used.has(prefix + name));
  return `${prefix}${names[last + 1] ?? "a"}`;
}

function addScsiController(guest: Guest): void {
  const hasController = guest.all("controller").some((each) => each.attributes.get("type") === "scsi");
  if (hasController || !guest.os.virtioScsi) return;
  const hasDisk = guest.all("disk").some((disk) => disk.find("target")?.attributes.get("bus") === "scsi");
  if (hasDisk) guest.devices.add("controller", { type: "scsi", model: "virtio-scsi" });
}

function addRootPorts(guest: Guest): void {
  const hasPci = guest.all("controller").some((each) => each.attributes.get("type") === "pci");
  if (hasPci || !guest.isQ35 || guest.rootPortCount <= 0) return;
  guest.devices.add("controller", { type: "pci", model: "pcie-root" });
  for (let port = 0; port < guest.rootPortCount; port++) {
    guest.devices.add("controller", { type: "pci", model: "pcie-root-port" });
  }
}

function addSpiceDevices(guest: Guest): void {
  const { devices, root, without } = guest;
  const features = root.ensure("features");
  if (features.find("vmport") === undefined) features.add("vmport", { state: "off" });
  const hasAgent = guest.all("channel").some((each) => each.attributes.get("type") === "spicevmc");
  if (!hasAgent && !without.has("channel")) {
    devices.add("channel", { type: "spicevmc" }).add("target", { type: "virtio", name: "com.redhat.spice.0" });
  }
  if (guest.all("sound").length === 0 && !without.has("sound")) devices.add("sound", { model: soundModel(guest) });
  if (guest.all("redirdev").length > 0 || without.has("redirdev") || isWithoutUsb(guest)) return;
  // Two of the four that a USB 2 controller has room for: the others are for devices that are put in by hand.
  for (let count = 0; count < 2; count++) devices.add("redirdev", { bus: "usb", type: "spicevmc" });
}

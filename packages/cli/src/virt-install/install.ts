/**
 * How the guest's system gets onto it. An installation has two documents: that of the first start, which boots from the
 * medium and ends at the first reboot, and the one that stays. Facts: virtinst/virtinstall.py build_installer,
 * virtinst/install/installer.py, 4.1.
 */
import { hasBootOrder } from "./boot-order.ts";
import type { Guest } from "./guest.ts";
import type { XmlElement } from "./element.ts";
import { refusalReason } from "./refusal.ts";
import { onOff, parseSubOptions, refuse, subOptions } from "./sub-option.ts";
import type { Words } from "./word.ts";

export interface Installation {
  readonly cdrom?: string;
  /** What the first start boots from. */
  readonly bootDevice?: string;
  readonly isImport: boolean;
  readonly hasInstallPhase: boolean;
  /** A drive with a seed for cloud-init, at the first start. */
  readonly hasSeed: boolean;
}

export const installTable = subOptions(
  `bootdev -
   no_install -
   kernel !kernel
   initrd !kernel
   kernel_args !kernel commas
   kernel_args_overwrite !kernel
   os -`,
);

export function installationOf(words: Words): Installation {
  const text = words.text("--install");
  const given = text === undefined ? undefined : parseSubOptions("--install", text, installTable, ["os"]);
  for (const name of given?.keys() ?? []) {
    if (name === "bootdev" || name === "no_install") continue;
    const remedy = "Install from an ISO with --cdrom.";
    throw refuse("--install", `--install ${name} is not supported: ${refusalReason("!kernel")}`, remedy);
  }
  const cdrom = words.text("--cdrom");
  let bootDevice = given?.get("bootdev");
  let isImport = onOff("--install", "no_install", given?.get("no_install") ?? "no");
  if (cdrom !== undefined) isImport ||= words.has("--livecd");
  else if (words.has("--pxe")) bootDevice = "network";
  else if (given === undefined) isImport = isWithoutInstaller(words);
  if (cdrom !== undefined) bootDevice = "cdrom";
  const hasInstallPhase = !isImport && bootDevice !== undefined;
  return {
    ...(cdrom !== undefined && { cdrom }),
    ...(bootDevice !== undefined && { bootDevice }),
    isImport,
    hasInstallPhase,
    hasSeed: words.has("--cloud-init"),
  };
}

function isWithoutInstaller(words: Words): boolean {
  return ["--import", "--print-xml", "--print-step", "--boot", "--cloud-init"].some((option) => words.has(option));
}

/** The boot order that stays, where options say none. */
export function setBootDevices(guest: Guest, installation: Installation): void {
  const os = guest.root.ensure("os");
  if (os.all("boot").length > 0 || hasBootOrder(guest)) return;
  for (const dev of bootDevices(guest, lastingDevice(guest, installation))) os.add("boot", { dev });
}

function lastingDevice(guest: Guest, { cdrom, isImport, bootDevice }: Installation): string {
  if (cdrom !== undefined && isImport) return "cdrom";
  const devices = guest.all("disk").map((disk) => disk.attributes.get("device"));
  if (bootDevice !== undefined) return devices.includes("disk") ? "hd" : bootDevice;
  const kinds: Readonly<Record<string, string>> = { cdrom: "cdrom", floppy: "fd" };
  return kinds[devices[0] ?? "disk"] ?? "hd";
}

/** The disk always comes along: installers start from it once it is bootable. */
function bootDevices(guest: Guest, first: string): string[] {
  const hasDisk = guest.all("disk").some((disk) => disk.attributes.get("device") === "disk");
  return hasDisk && first !== "hd" ? [first, "hd"] : [first];
}

/** The document of the first start; undefined where it is the one that stays. */
export function installDocument(guest: Guest, installation: Installation): XmlElement | undefined {
  const { hasInstallPhase, bootDevice, hasSeed } = installation;
  if (!hasInstallPhase && !hasSeed) return undefined;
  const root = guest.root.copy();
  root.ensure("on_reboot").text = "destroy";
  const os = root.ensure("os");
  for (const boot of os.all("boot")) os.remove(boot);
  if (hasSeed) sayNoCloud(root);
  if (bootDevice === undefined || hasBootOrder(guest)) return root;
  for (const dev of bootDevices(guest, bootDevice)) os.add("boot", { dev });
  return root;
}

/** The machine's serial number tells cloud-init where to look, before it has to guess (NoCloud, "DMI"). */
function sayNoCloud(root: XmlElement): void {
  const smbios = root.ensure("os/smbios");
  if (!["sysinfo", undefined].includes(smbios.attributes.get("mode"))) return;
  const sysinfo = root.all("sysinfo").find((each) => each.attributes.get("type") === "smbios");
  const system = (sysinfo ?? root.add("sysinfo", { type: "smbios" })).ensure("system");
  smbios.set({ mode: "sysinfo" });
  if (system.all("entry").some((entry) => entry.attributes.get("name") === "serial")) return;
  system.add("entry", { name: "serial" }, "ds=nocloud");
}

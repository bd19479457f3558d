/**
 * What a VM is made of besides CPU, memory, disks and NICs. One row per field of the contract: how it is read from and
 * written to the document. Facts: libvirt 9.0 docs/formatdomain.rst. An edit that asks for what is there changes nothing.
 */
import type { Element } from "@xmldom/xmldom";
import type { ReadElement } from "#libvirt/read-xml.ts";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { add, append, attribute, child, children, create, ensure, remove, removeIfEmpty, setText } from "./element.ts";
import { text, wholeNumber } from "./element.ts";
import { defined } from "#core/defined.ts";
import { editFirmware, readFirmware } from "./firmware.ts";
import { editMachine, readMachine } from "./machine.ts";

/** `autostart` is no part of the domain's XML. */
export type Hardware = Partial<
  Pick<
    VmSpec,
    "machine" | "firmware" | "tpm" | "graphics" | "video" | "serial" | "guestAgent" | "balloon" | "ioThreads"
  >
>;

/** Name of qemu-guest-agent's port (qga/main.c QGA_VIRTIO_PATH_DEFAULT). */
const agentChannelName = "org.qemu.guest_agent.0";
/** How often QEMU asks the guest's balloon driver for statistics. */
const balloonStatsPeriodS = 10;

const videos = ["none", "virtio", "vga", "qxl", "bochs"] as const;

export function readHardware(root: ReadElement): Hardware {
  const devices = child(root, "devices");
  const graphics = attribute(children(devices, "graphics")[0], "type");
  const video = attribute(child(devices, "video/model"), "type");
  const balloon = attribute(child(devices, "memballoon"), "model");
  return defined({
    machine: readMachine(root),
    firmware: readFirmware(root),
    tpm: child(devices, "tpm") !== undefined,
    graphics: graphics === undefined ? "none" : graphics === "spice" || graphics === "vnc" ? graphics : undefined,
    video: video === undefined ? "none" : videos.find((each) => each === video),
    serial: child(devices, "serial") !== undefined,
    guestAgent: agentChannel(root) !== undefined,
    balloon: balloon !== undefined && balloon !== "none",
    ioThreads: wholeNumber(text(child(root, "iothreads"))) ?? 0,
  });
}

const editors: { readonly [K in keyof Required<Hardware>]: (root: Element, value: NonNullable<Hardware[K]>) => void } =
  {
    machine: editMachine,
    firmware: editFirmware,
    tpm: editTpm,
    graphics: editGraphics,
    video: editVideo,
    serial: editSerial,
    guestAgent: editGuestAgent,
    balloon: editBalloonDevice,
    ioThreads: editIoThreads,
  };

/** Sets the fields that are given and differ from what is there. */
export function editHardware(root: Element, change: Hardware): void {
  for (const field of Object.keys(editors) as (keyof Hardware)[]) editField(root, field, change[field]);
}

/** What only a machine with firmware has; containers and paravirtual guests of Xen have none. */
const pcFields: readonly string[] = ["machine", "firmware", "tpm"];

function editField<K extends keyof Hardware>(root: Element, field: K, value: Hardware[K]): void {
  if (value === undefined || readHardware(root)[field] === value) return;
  const kind = text(child(root, "os/type"));
  if (pcFields.includes(field) && kind !== undefined && kind !== "hvm") {
    throw new AppError("unsupported", `A guest of kind ${kind} (a container, or Xen's) has no ${field}.`, { field });
  }
  const edit = editors[field] as (root: Element, value: NonNullable<Hardware[K]>) => void;
  edit(root, value);
}

function devicesOf(root: Element): Element {
  return ensure(root, "devices");
}

function removeAll(root: Element, ...names: readonly string[]): void {
  for (const name of names) for (const element of children(child(root, "devices"), name)) remove(element);
}

function editTpm(root: Element, tpm: boolean): void {
  if (!tpm) return removeAll(root, "tpm");
  // tpm-crb is x86's; aarch64's virt machine has tpm-tis-device, pseries spapr (libvirt docs "TPM device").
  const architecture = attribute(child(root, "os/type"), "arch") ?? "x86_64";
  const model = architecture === "aarch64" ? "tpm-tis" : architecture.startsWith("ppc64") ? "tpm-spapr" : "tpm-crb";
  add(add(devicesOf(root), "tpm", { model }), "backend", { type: "emulator", version: "2.0" });
}

function editGraphics(root: Element, graphics: NonNullable<Hardware["graphics"]>): void {
  removeAll(root, "graphics");
  if (graphics === "none") return;
  // Loopback only: a console is reached through its host, never from the network without authentication.
  const element = add(devicesOf(root), "graphics", { type: graphics, port: -1, autoport: "yes" });
  add(element, "listen", { type: "address", address: "127.0.0.1" });
  // libvirt would add a Cirrus of 1993 for a screen that has no card.
  if (children(child(root, "devices"), "video").length === 0) editVideo(root, "virtio");
}

function editVideo(root: Element, video: NonNullable<Hardware["video"]>): void {
  removeAll(root, "video");
  add(add(devicesOf(root), "video"), "model", { type: video });
}

function editSerial(root: Element, serial: boolean): void {
  removeAll(root, "serial", "console");
  if (!serial) return;
  const devices = devicesOf(root);
  add(add(devices, "serial", { type: "pty" }), "target", { port: 0 });
  add(add(devices, "console", { type: "pty" }), "target", { type: "serial", port: 0 });
}

function agentChannel<E extends ReadElement>(root: E): E | undefined {
  return children(child(root, "devices"), "channel").find(
    (channel) => attribute(child(channel, "target"), "name") === agentChannelName,
  );
}

/** Whether the guest has its end of the agent's channel open; only the running guest's XML says so. */
export function agentConnected(root: ReadElement): boolean {
  return attribute(child(agentChannel(root), "target"), "state") === "connected";
}

function editGuestAgent(root: Element, guestAgent: boolean): void {
  if (!guestAgent) return remove(agentChannel(root));
  const channel = append(devicesOf(root), create(root, "channel", { type: "unix" }));
  add(channel, "target", { type: "virtio", name: agentChannelName });
}

function editBalloonDevice(root: Element, balloon: boolean): void {
  removeAll(root, "memballoon");
  const element = add(devicesOf(root), "memballoon", { model: balloon ? "virtio" : "none" });
  if (balloon) add(element, "stats", { period: balloonStatsPeriodS });
}

function editIoThreads(root: Element, count: number): void {
  setText(root, "iothreads", count === 0 ? undefined : count);
  const ids = child(root, "iothreadids");
  for (const thread of children(ids, "iothread").slice(count)) remove(thread);
  removeIfEmpty(ids);
}

/**
 * BIOS, UEFI, and UEFI with secure boot. UEFI is asked for by what it must do and libvirt picks the image
 * (`<os firmware='efi'>`, libvirt 9.0 docs/formatdomain.rst "BIOS bootloader"); an image that was named by hand stays.
 */
import type { Element } from "@xmldom/xmldom";
import type { ReadElement } from "#libvirt/read-xml.ts";
import type { Firmware } from "@innkeeper/contract/resource/vm-spec.ts";
import { add, attribute, child, children, ensure, remove, removeIfEmpty, setAttributes } from "./element.ts";

export function readFirmware(root: ReadElement): Firmware {
  const os = child(root, "os");
  const loader = child(os, "loader");
  const uefi = attribute(os, "firmware") === "efi" || attribute(loader, "type") === "pflash";
  if (!uefi) return "bios";
  return attribute(loader, "secure") === "yes" || enabledFeature(os, "secure-boot") ? "uefi-secure" : "uefi";
}

function enabledFeature(os: ReadElement | undefined, name: string): boolean {
  return children(child(os, "firmware"), "feature").some(
    (feature) => attribute(feature, "name") === name && attribute(feature, "enabled") === "yes",
  );
}

export function editFirmware(root: Element, firmware: Firmware): void {
  const os = ensure(root, "os");
  for (const name of ["firmware", "loader", "nvram"]) remove(child(os, name));
  setAttributes(os, { firmware: firmware === "bios" ? undefined : "efi" });
  const secure = firmware === "uefi-secure";
  if (firmware !== "bios") {
    const features = add(os, "firmware");
    add(features, "feature", { enabled: secure ? "yes" : "no", name: "enrolled-keys" });
    add(features, "feature", { enabled: secure ? "yes" : "no", name: "secure-boot" });
    if (secure) add(os, "loader", { secure: "yes" });
  }
  editSystemManagement(root, secure);
}

/** Secure boot keeps its keys in System Management Mode (edk2 OvmfPkg/README "SMM support"). */
function editSystemManagement(root: Element, secure: boolean): void {
  if (secure) {
    setAttributes(ensure(root, "features/smm"), { state: "on" });
    return;
  }
  const smm = child(root, "features/smm");
  if (attribute(smm, "state") === "on") remove(smm);
  removeIfEmpty(child(root, "features"));
}

/** For a copy of a VM: it gets firmware variables of its own. */
export function forgetNvram(root: Element): void {
  remove(child(root, "os/nvram"));
}

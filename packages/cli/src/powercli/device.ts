/**
 * From what names a device on a command line or in a pipe (`vm-…/vda`, `web/Hard disk 1`, `web/vda`) to the VM and the device.
 */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { tableError, usageError } from "#cli-error.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import type { NumberedDevice } from "#powercli/object/device.ts";
import { select } from "#powercli/select.ts";

interface OwnedDevice<Device> extends NumberedDevice<Device> {
  readonly vm: Vm;
}

export interface DeviceWish<Device> {
  /** The parameter that names them: HardDisk. */
  readonly parameter: string;
  /** `hard disk`. */
  readonly noun: string;
  readonly of: (vm: Vm) => readonly NumberedDevice<Device>[];
  /** What names it besides `Hard disk 1`: its target, its MAC address. */
  readonly key: (device: Device) => string;
}

/** The VM may be `host/name`; a drive's name has a slash of its own. */
const ownedPattern = /^(.+?)\/((?:CD\/)?[^/]+)$/is;

export async function devices<Device>(run: CmdletRun, wish: DeviceWish<Device>): Promise<OwnedDevice<Device>[]> {
  const found: OwnedDevice<Device>[] = [];
  for (const { text, literal } of await run.references(wish.parameter)) {
    await run.attempt(async () => {
      const match = ownedPattern.exec(text);
      if (match === null) {
        throw usageError(
          `-${wish.parameter} ${text}: of which VM?`,
          `Write VM/${text}, or pipe what Get-${wish.parameter} prints.`,
        );
      }
      const [, owner = "", typed = ""] = match;
      const name = typed.toLowerCase();
      for (const vm of await select(run.api, "vm", [{ text: owner, literal }], { parameter: `-${wish.parameter}` })) {
        const device = wish
          .of(vm)
          .find((each) => each.name.toLowerCase() === name || wish.key(each.device).toLowerCase() === name);
        if (device === undefined) throw noDevice(vm, wish, typed);
        found.push({ ...device, vm });
      }
    });
  }
  return found;
}

function noDevice<Device>(vm: Vm, wish: DeviceWish<Device>, text: string): Error {
  const there = wish.of(vm).map(({ name, device }) => `${name} (${wish.key(device)})`);
  return tableError("not_found", `${vm.name} has no ${wish.noun} "${text}"`, {
    field: `-${wish.parameter}`,
    remedy: there.length === 0 ? "It has none." : `It has ${there.join(", ")}.`,
  });
}

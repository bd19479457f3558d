/** Help of `inn virt-install`: the options, and those of each option (`--disk help`). */
import { cloudInitTable } from "./cloud-init.ts";
import { deviceOptions } from "./option/device.ts";
import { domainOptions } from "./option/domain.ts";
import { refusalReason } from "./refusal.ts";
import type { SubOptionTable } from "./sub-option.ts";
import type { Words } from "./word.ts";

export const helpText = `Usage: inn virt-install --name NAME --memory MIB STORAGE INSTALL [options]

virt-install's options, for a VM of Innkeeper's: placed on a host, its disks made in storage pools, all of it one task that is
undone if it fails. What is not supported is refused by name. --disk help and the like list an option's sub-options.

General
  -n, --name NAME            default: the system's name
  --memory MIB[,...]         default: what the system should have
  --vcpus N[,...]            --vcpus 4,maxvcpus=8,sockets=1,cores=4
  --cpu MODEL[,...]          host-passthrough (default with KVM), host-model, EPYC, +feature,-feature
  --metadata ...             name, title, description, uuid
  --host HOST                Innkeeper's: on which host (default: the one with the most free memory that fits)
  --tag TAG                  Innkeeper's: may be repeated

How it is installed
  --cdrom MEDIUM             an image's name, POOL/VOLUME, or a path on the host
  --import                   the first disk has a system
  --cloud-init [...]         a cloud image's first start: root-password-file=, root-ssh-key=, user-data=, network-config=
  --pxe                      from the network
  --boot hd,cdrom,uefi,...   --install bootdev=network
  --osinfo NAME              what is installed, for the right devices; --osinfo list

Devices
  --disk size=GIB | PATH | vol=POOL/NAME | pool=POOL,size=GIB | none [,bus=,cache=,format=,...]
  -w, --network default | network=NAME | bridge=NAME | none [,model=,mac=,...]
  --graphics vnc | spice | none [,listen=,port=,password=]
  --video --sound --input --console --serial --channel --controller --rng --tpm --watchdog --memballoon --panic
  --vsock --redirdev --smartcard --audio --memdev --iommu

The machine
  --machine --features --clock --pm --events --sysinfo --iothreads --cputune --numatune --memtune --memorybacking
  --blkiotune --launchSecurity --keywrap --xml XPATH=VALUE

What happens
  --print-xml [1|2|all]      print the domain instead of making it; --dry-run only checks
  --autostart --noreboot --wait [MINUTES] --noautoconsole --autoconsole text --destroy-on-exit -q

The old forms work, too: -r, -f, -s, -b, -m, -c, --vnc, --nographics, --os-variant, --os-type (does nothing but help to guess).
Differences to virt-install, and what is refused: docs/virt-install.md
`;

/** Of `--disk help` or `--disk=?`, if one of the options has that value. */
export function subOptionHelp(words: Words): string | undefined {
  for (const option of words.options()) {
    if (!words.texts(option).some((text) => text === "help" || text === "?")) continue;
    if (option === "--cloud-init") return `--cloud-init options:\n${subOptionLines(cloudInitTable)}`;
    const definition = deviceOptions[option] ?? domainOptions[option];
    if (definition === undefined) continue;
    if (definition.refused !== undefined) return `${option} is not supported: ${refusalReason(definition.refused)}\n`;
    return `${option} options:\n${subOptionLines(definition.table)}`;
  }
  return undefined;
}

function subOptionLines(table: SubOptionTable): string {
  return [...table]
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, path }) => `  ${name.replaceAll("*", "0")}${path.startsWith("!") ? "  (refused)" : ""}\n`)
    .join("");
}

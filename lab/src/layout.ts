/**
 * Where a lab keeps what: one folder per lab, one folder per host in it. Everything a lab owns on disk lies in its
 * folder; everything else it owns (processes, one network interface) is found by a name derived from the folder's path,
 * so that a lab can be removed by anyone at any time, also if its maker died half-way.
 */
import { hash } from "node:crypto";
import path from "node:path";

/** Where labs lie that are known by their name alone. */
export function labRoot(): string {
  return process.env["INNKEEPER_LAB_ROOT"] ?? "/var/lib/innkeeper-lab";
}

export interface LabLayout {
  readonly folder: string;
  readonly recordFile: string;
  readonly authorityFolder: string;
  /** Certificate, key and trusted CA with which the machine that runs the lab is a client of the lab's hosts. */
  readonly clientFolder: string;
  readonly sharedFolder: string;
  /** The interface in the root namespace: `inn-` and 8 hex digits. At most 15 characters (IFNAMSIZ, linux/if.h). */
  readonly interfaceName: string;
}

export interface HostLayout {
  readonly folder: string;
  /** Upper layer of the host's /etc. */
  readonly etcFolder: string;
  readonly overlayWorkFolder: string;
  /** Source folder of each private mount, by its mount point on the host. */
  readonly privateFolders: Readonly<Record<string, string>>;
  readonly initLogFile: string;
}

export function labLayout(folder: string): LabLayout {
  return {
    folder,
    recordFile: path.join(folder, "lab.json"),
    authorityFolder: path.join(folder, "authority"),
    clientFolder: path.join(folder, "client"),
    sharedFolder: path.join(folder, "shared"),
    interfaceName: interfaceNameOf(folder),
  };
}

export const interfacePrefix = "inn-";

export function interfaceNameOf(labFolder: string): string {
  return `${interfacePrefix}${hash("sha256", labFolder).slice(0, 8)}`;
}

/** How the processes of a lab's node are known among all processes of the machine; they carry it as an argument. */
export function nodeMark(labFolder: string, nodeName: string): string {
  return `innkeeper-lab:${labFolder}:${nodeName}`;
}

/** The lab folder in a node's mark; undefined for any other argument. */
export function labFolderOfMark(argument: string): string | undefined {
  return /^innkeeper-lab:(.*):[^:]*$/u.exec(argument)?.[1];
}

export function hostLayout(labFolder: string, hostName: string): HostLayout {
  const folder = path.join(labFolder, "host", hostName);
  const inside = (name: string): string => path.join(folder, name);
  return {
    folder,
    etcFolder: inside("etc"),
    overlayWorkFolder: inside("etc-work"),
    privateFolders: {
      "/etc/libvirt": inside("libvirt-config"),
      "/var/lib/libvirt": inside("libvirt-state"),
      "/var/cache/libvirt": inside("libvirt-cache"),
      "/var/log/libvirt": inside("libvirt-log"),
      "/var/lib/swtpm-localca": inside("swtpm-localca"),
    },
    initLogFile: inside("init.log"),
  };
}

// Things that tests need in a daemon: a pool of files, a volume, a guest that does nothing but exist.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Connection } from "#connection/connection.ts";
import type { NonnullDomain, NonnullStorageVol } from "#generated/remote-type.ts";
import type { Daemon } from "./daemon.ts";

export async function createPool(connection: Connection, daemon: Daemon, name: string): Promise<string> {
  const path = join(daemon.folder, name);
  await mkdir(path, { recursive: true });
  await connection.remote.storagePoolCreateXml({
    xml: `<pool type="dir"><name>${name}</name><target><path>${path}</path></target></pool>`,
  });
  return path;
}

export async function createVolume(
  connection: Connection,
  pool: string,
  name: string,
  bytes: number,
): Promise<NonnullStorageVol> {
  const { pool: found } = await connection.remote.storagePoolLookupByName({ name: pool });
  const xml = `<volume><name>${name}</name><capacity>${bytes}</capacity><allocation>0</allocation><target><format type="raw"/></target></volume>`;
  return (await connection.remote.storageVolCreateXml({ pool: found, xml })).vol;
}

/** A started QEMU guest without disks: its firmware writes to the serial console and then waits. */
export async function startGuest(connection: Connection, name: string): Promise<NonnullDomain> {
  const xml = `<domain type="qemu"><name>${name}</name><memory unit="MiB">32</memory><vcpu>1</vcpu>
    <os><type arch="x86_64" machine="pc">hvm</type><bios useserial="yes"/></os>
    <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type="usb" model="none"/><memballoon model="none"/>
    <serial type="pty"/><console type="pty"/><video><model type="vga"/></video><graphics type="vnc" port="-1" autoport="yes" listen="127.0.0.1"/></devices></domain>`;
  return (await connection.remote.domainCreateXml({ xmlDesc: xml })).dom;
}

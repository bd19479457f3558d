/** A lab host's libvirt socket as this machine's processes reach it: through the host's root folder. */
import { existsSync } from "node:fs";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { nodeMark } from "@innkeeper/lab/layout.ts";
import { findNodeProcesses } from "@innkeeper/lab/namespace.ts";

export async function daemonSocket(labFolder: string, host: LabHost): Promise<string> {
  const { init } = await findNodeProcesses(nodeMark(labFolder, host.name));
  const socket = `/proc/${init}/root/run/libvirt/libvirt-sock`;
  if (!existsSync(socket)) throw new Error(`${host.name} has no libvirt socket`);
  return socket;
}

/** libvirtd's kill -9 the moment that it is asked for: everything that it takes is ready before. */
import { once } from "node:events";
import type { LabHost } from "@innkeeper/lab/host.ts";

export async function killerOf(host: LabHost): Promise<() => void> {
  const argv = ["sh", "-c", "echo ready; read go; kill -KILL $(cat /run/libvirtd.pid)"];
  const killer = await host.spawn(argv, ["pipe", "pipe", "ignore"]);
  if (killer.stdout !== null) await once(killer.stdout, "data");
  return () => void killer.stdin?.end("go\n");
}

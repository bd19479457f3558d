/** libvirtd's kill -9 the moment that it is asked for: everything that it takes is ready before. */
import { once } from "node:events";
import type { LabHost } from "@innkeeper/lab/host.ts";

const script = `pid=$(cat /run/libvirtd.pid); echo ready; read go
kill -KILL $pid; while kill -0 $pid 2>/dev/null; do sleep 0.01; done`;

/** What is returned resolves once the daemon is gone. */
export async function killerOf(host: LabHost): Promise<() => Promise<void>> {
  const killer = await host.spawn(["sh", "-c", script], ["pipe", "pipe", "ignore"]);
  const ended = once(killer, "exit");
  if (killer.stdout !== null) await once(killer.stdout, "data");
  return async () => {
    killer.stdin?.end("go\n");
    await ended;
  };
}

/** A control plane that manages hosts of a lab, for the benches. */
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { LabHost } from "@innkeeper/lab/host.ts";
import type { Lab } from "@innkeeper/lab/lab.ts";
import { ServerProcess } from "@innkeeper/server/app/test-support/server-process.ts";

/** Adds them, and declares their pool `shared` as what it is; resolves with the ids of these pools. */
export async function addLabHosts(
  server: ServerProcess,
  hosts: readonly LabHost[],
  { ca, cert, key }: Lab["clientTls"],
): Promise<string[]> {
  const [caCertificate, clientCertificate, clientKey] = await Promise.all(
    [ca, cert, key].map((file) => readFile(file, "utf8")),
  );
  const tls = { caCertificate, clientCertificate, clientKey };
  for (const { name, uri } of hosts) await server.succeed("POST", "/hosts", { name, uri, tls });
  const { items } = await server.call<{ items: { id: string }[] }>("GET", "/pools?filter=name%3Dshared");
  await server.call("PATCH", `/pools/${items[0]?.id}`, { shared: true });
  return items.map(({ id }) => id);
}

/** Started as the launcher does it: compiled code is kept, and memory is given back. */
export async function startServer(stateFolder: string): Promise<ServerProcess> {
  const cache = path.resolve(import.meta.dirname, "../node_modules/.cache/inn");
  await mkdir(cache, { recursive: true });
  const memory = { MALLOC_ARENA_MAX: "1", MALLOC_TRIM_THRESHOLD_: "131072" };
  return await ServerProcess.start(stateFolder, { NODE_COMPILE_CACHE: cache, ...memory });
}

/** The control plane itself: health, facts, and the description of its API. */
import type { HandlerTable } from "#rest/handler.ts";
import { sendOctets } from "#rest/octets.ts";
import { openapiDocument } from "#rest/openapi.ts";
import type { RestServices } from "#rest/service.ts";

/** Anyone may ask for health: the store is tried at most this often. */
const probeMs = 1000;

export function systemHandlers(services: RestServices): HandlerTable {
  const { inventory, system, audit, backup, clock, leading } = services;
  const openapi = openapiDocument(system.version);
  let probed: { readonly atMs: number; readonly result: Promise<void> } | undefined;
  return {
    auditList: async ({ query, signal }) => audit.page(query ?? {}, signal),
    systemHealth: async () => {
      const now = clock.monotonicMs();
      if (probed === undefined || now - probed.atMs > probeMs) probed = { atMs: now, result: system.probe() };
      await probed.result;
      return { status: "ok" };
    },
    systemGet: () => ({
      version: system.version,
      revision: inventory.revision,
      startedAt: system.startedAt,
      store: system.storeName,
      role: leading === undefined || leading.isLeader ? "leader" : "follower",
      ...(leading?.present === undefined ? {} : { leaderUrl: leading.present.url }),
      nodeVersion: process.version,
      residentMiB: Math.round(process.memoryUsage.rss() / 2 ** 20),
    }),
    systemBackup: async ({ body, reply }) => {
      await using running = await backup.create(body.password);
      await sendOctets(services, reply, running.content);
    },
    systemOpenapi: () => openapi,
  };
}

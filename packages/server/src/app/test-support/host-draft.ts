/** The document of a host that nothing is known of but its name, for tests. */
import type { HostId } from "@innkeeper/contract/id.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Draft } from "#store/port.ts";

export function hostDraft(id: HostId, name: string, change: Partial<Host> = {}): Draft<"host"> {
  return {
    id,
    name,
    uri: "test:///default",
    description: "",
    tags: [],
    maintenance: false,
    connectionState: "connected",
    connectionDetail: "",
    addedAt: "2026-01-01T00:00:00.000Z",
    ...change,
  };
}

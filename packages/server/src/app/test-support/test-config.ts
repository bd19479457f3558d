/** How tests start the control plane in their own process: plain HTTP on a free port, no host of its own. */
import type { ServerConfig } from "../config.ts";

export function testConfig(stateFolder: string, change: Partial<ServerConfig> = {}): ServerConfig {
  return {
    stateFolder,
    listenAddress: "127.0.0.1",
    listenPort: 0,
    tls: { kind: "off" },
    logLevel: "error",
    local: false,
    allowPlainTcp: false,
    resetAdmin: false,
    ...change,
  };
}

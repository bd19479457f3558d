// Lists the domains of a host with their state, memory and CPU time:
//   node example/list-domain.ts [qemu:///system]
import {
  VIR_DOMAIN_STATS_BALLOON,
  VIR_DOMAIN_STATS_CPU_TOTAL,
  VIR_DOMAIN_STATS_STATE,
  connect,
} from "@innkeeper/libvirt";

const STATES = ["no state", "running", "blocked", "paused", "shutting down", "shut off", "crashed", "suspended"];

await using connection = await connect(process.argv[2] ?? "qemu:///system");
const stats = VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON;
const { retStats } = await connection.remote.connectGetAllDomainStats({ doms: [], stats });
console.log("NAME".padEnd(24), "STATE".padEnd(14), "MEMORY MIB".padStart(10), "CPU S".padStart(10));
for (const { dom, params } of retStats) {
  const state = STATES[Number(params["state.state"])] ?? "unknown";
  const memoryMiB = Number(params["balloon.current"] ?? 0n) / 1_024;
  const cpuSeconds = Number(params["cpu.time"] ?? 0n) / 1e9;
  console.log(
    dom.name.padEnd(24),
    state.padEnd(14),
    memoryMiB.toFixed(0).padStart(10),
    cpuSeconds.toFixed(1).padStart(10),
  );
}

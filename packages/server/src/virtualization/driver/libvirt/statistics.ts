/** Counters of guests, all in one call (libvirt 9.0 virConnectGetAllDomainStats, whose docs list the parameters). */
import {
  type CallOptions,
  type Connection,
  type TypedParameters,
  VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
  VIR_DOMAIN_STATS_BALLOON,
  VIR_DOMAIN_STATS_BLOCK,
  VIR_DOMAIN_STATS_CPU_TOTAL,
  VIR_DOMAIN_STATS_INTERFACE,
  VIR_DOMAIN_STATS_STATE,
  VIR_DOMAIN_STATS_VCPU,
} from "@innkeeper/libvirt";
import type { VmStatistics } from "@innkeeper/contract/resource/vm.ts";
import { isLibvirtCode } from "#libvirt/error.ts";
import { domainRef } from "./driver-context.ts";
import { defined } from "#core/defined.ts";
import { stateName } from "./state.ts";

const groups =
  VIR_DOMAIN_STATS_STATE |
  VIR_DOMAIN_STATS_CPU_TOTAL |
  VIR_DOMAIN_STATS_BALLOON |
  VIR_DOMAIN_STATS_VCPU |
  VIR_DOMAIN_STATS_INTERFACE |
  VIR_DOMAIN_STATS_BLOCK;

/** Of the guests named, or of all. A guest that is gone is left out; one that is busy answers what needs no monitor. */
export async function readStatistics(
  remote: Connection["remote"],
  uuids: readonly string[] | undefined,
  sampledAt: string,
  options: CallOptions,
): Promise<Map<string, VmStatistics>> {
  if (uuids?.length === 0) return new Map();
  const doms = (uuids ?? []).map(domainRef);
  const ask = (flags: number) => remote.connectGetAllDomainStats({ doms, stats: groups, flags }, options);
  // Drivers other than QEMU's do not know NOWAIT.
  const answer = await ask(VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT).catch((error: unknown) => {
    if (isLibvirtCode(error, "VIR_ERR_INVALID_ARG")) return ask(0);
    throw error;
  });
  return new Map(answer.retStats.map(({ dom, params }) => [dom.uuid, statisticsOf(params, dom.id >= 0, sampledAt)]));
}

function statisticsOf(params: TypedParameters, active: boolean, sampledAt: string): VmStatistics {
  const number = (name: string): number | undefined => {
    const value = params[name];
    return typeof value === "number" || typeof value === "bigint" ? Number(value) : undefined;
  };
  const miB = (name: string): number | undefined => {
    const kiB = number(name);
    return kiB === undefined ? undefined : kiB / 1024;
  };
  return {
    sampledAt,
    state: stateName(number("state.state") ?? 0, active),
    cpuTimeNs: number("cpu.time") ?? 0,
    vcpus: vcpusOf(number),
    memory: {
      balloonMiB: miB("balloon.current") ?? 0,
      maxMiB: miB("balloon.maximum") ?? 0,
      ...defined({
        residentMiB: miB("balloon.rss"),
        guestAvailableMiB: miB("balloon.available"),
        guestUnusedMiB: miB("balloon.unused"),
        swapInMiB: miB("balloon.swap_in"),
        swapOutMiB: miB("balloon.swap_out"),
      }),
    },
    disks: disksOf(params, number),
    nics: nicsOf(params, number),
  };
}

type Read = (name: string) => number | undefined;

function vcpusOf(number: Read): VmStatistics["vcpus"] {
  return indexes(number("vcpu.maximum")).flatMap((index) => {
    const timeNs = number(`vcpu.${index}.time`);
    if (timeNs === undefined) return [];
    const waits = { waitNs: number(`vcpu.${index}.wait`), delayNs: number(`vcpu.${index}.delay`) };
    return [{ number: index, timeNs, ...defined(waits) }];
  });
}

function disksOf(params: TypedParameters, number: Read): VmStatistics["disks"] {
  return indexes(number("block.count")).map((index) => {
    const at = (name: string): number | undefined => number(`block.${index}.${name}`);
    return {
      target: String(params[`block.${index}.name`] ?? ""),
      readBytes: at("rd.bytes") ?? 0,
      readRequests: at("rd.reqs") ?? 0,
      writeBytes: at("wr.bytes") ?? 0,
      writeRequests: at("wr.reqs") ?? 0,
      ...defined({
        readTimeNs: at("rd.times"),
        writeTimeNs: at("wr.times"),
        allocationBytes: at("allocation"),
        capacityBytes: at("capacity"),
      }),
    };
  });
}

function nicsOf(params: TypedParameters, number: Read): VmStatistics["nics"] {
  return indexes(number("net.count")).map((index) => {
    const at = (name: string): number => number(`net.${index}.${name}`) ?? 0;
    return {
      name: String(params[`net.${index}.name`] ?? ""),
      receivedBytes: at("rx.bytes"),
      receivedPackets: at("rx.pkts"),
      receivedDrops: at("rx.drop"),
      sentBytes: at("tx.bytes"),
      sentPackets: at("tx.pkts"),
      sentDrops: at("tx.drop"),
    };
  });
}

function indexes(count: number | undefined): number[] {
  return Array.from({ length: count ?? 0 }, (_unused, index) => index);
}

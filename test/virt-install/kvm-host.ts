/**
 * The host of kvm-host/ as Innkeeper knows it, without a libvirtd: its inventory from node.xml, its abilities from its
 * capabilities, read by the same code that reads a real host's. `preview` goes the way of `inn virt-install --print-xml`
 * but for HTTP.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { Value } from "typebox/value";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import { buildGuest } from "@innkeeper/cli/virt-install/build.ts";
import { hostFacts } from "@innkeeper/cli/virt-install/host-fact.ts";
import { chooseOs } from "@innkeeper/cli/virt-install/os-choice.ts";
import { requestOf } from "@innkeeper/cli/virt-install/request.ts";
import type { Storage, StoredVolume } from "@innkeeper/cli/virt-install/storage.ts";
import { parseWords } from "@innkeeper/cli/virt-install/word.ts";
import { checkWords } from "@innkeeper/cli/virt-install/word-check.ts";
import { readCapabilities, readDomainCapabilities } from "@innkeeper/server/hardware/driver/libvirt/host-xml.ts";
import { childElements, elements, parseXml, text } from "@innkeeper/server/libvirt/xml.ts";
import { Fleet } from "@innkeeper/server/management/test-support/fleet.ts";
import { planVm } from "@innkeeper/server/management/vm/vm-plan.ts";
import { plannedDefinitions } from "@innkeeper/server/management/vm/vm-definition.ts";
import { buildDomainXml } from "@innkeeper/server/virtualization/driver/libvirt/domain-xml/build.ts";
import type { GuestDefinition } from "@innkeeper/server/virtualization/port.ts";
import {
  platformOf,
  readCapabilities as readPlatform,
} from "@innkeeper/server/virtualization/driver/libvirt/platform.ts";

const folder = path.join(import.meta.dirname, "kvm-host");
const file = (name: string): string => readFileSync(path.join(folder, name), "utf8");

export class KvmHost implements AsyncDisposable {
  readonly #fleet: Fleet;
  readonly #host: Host;
  readonly #platform = platformOf(readPlatform(parseXml(file("domain-capabilities.xml"))));

  private constructor(fleet: Fleet, host: Host) {
    this.#fleet = fleet;
    this.#host = host;
  }

  static async open(): Promise<KvmHost> {
    const fleet = await Fleet.open();
    const capabilities = readCapabilities(file("capabilities.xml"));
    const domain = readDomainCapabilities(file("domain-capabilities.xml"));
    const hardwareChange = {
      cpuCount: 32,
      memoryMiB: 131_072,
      machineTypes: capabilities.machineTypes,
      domainTypes: capabilities.domainTypes,
      ...domain,
    };
    const usage = { memoryFreeMiB: 100_000, cpuLoadPct: 1, sampledAt: "2026-01-01T00:00:00.000Z" };
    const host = await fleet.host("kvm1", { hardwareChange, usage });
    await fleet.network(host, "lab");
    for (const pool of elements(parseXml(file("node.xml")), "pool")) {
      const name = text(pool, "name") ?? "";
      const type = pool.getAttribute("type") as StoragePool["type"];
      await fleet.pool(host, name, { type, path: text(pool, "target/path") ?? "", capacityBytes: 1e12 });
      for (const volume of childElements(pool, "volume")) {
        const format = elements(volume, "target/format")[0]?.getAttribute("type") ?? "raw";
        await fleet.volume(host, name, text(volume, "name") ?? "", { format: format as "raw" });
      }
    }
    return new KvmHost(fleet, host);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fleet[Symbol.asyncDispose]();
  }

  get files(): string[] {
    return this.#fleet.inventory.byHost("volume", this.#host.id).map((volume) => volume.path);
  }

  /** The documents that would be defined: the first start's, if it has one of its own, and the lasting one. */
  async preview(argv: readonly string[]): Promise<string[]> {
    return (await this.definitions(argv)).map((definition) => buildDomainXml(definition, this.#platform));
  }

  async definitions(argv: readonly string[]): Promise<GuestDefinition[]> {
    const words = parseWords(argv);
    checkWords(words);
    const { inventory } = this.#fleet;
    const facts = hostFacts([this.#host]);
    const { os } = chooseOs(words);
    const built = buildGuest(words, facts, os, words.text("--name") ?? "vm");
    const request = await requestOf(built, words, this.#storage());
    const wrong = [...Value.Errors(VmCreate, request)];
    if (wrong.length > 0) throw new Error(`the request is not the contract's: ${JSON.stringify(wrong)}`);
    const plan = { ...planVm(inventory, request), createdAt: "2026-01-01T00:00:00.000Z" };
    const [last, first] = plannedDefinitions(inventory, plan, request);
    return [first, last].filter((definition) => definition !== undefined);
  }

  #storage(): Storage {
    const { inventory } = this.#fleet;
    const volumes = inventory.byHost("volume", this.#host.id);
    const pools = inventory.byHost("storage-pool", this.#host.id);
    const stored = (found: (typeof volumes)[number] | undefined): StoredVolume | undefined => {
      const pool = pools.find((each) => each.id === found?.poolId);
      return found === undefined || pool === undefined ? undefined : { path: found.path, format: found.format, pool };
    };
    return {
      volumeAt: (at) => Promise.resolve(stored(volumes.find((volume) => volume.path === at))),
      volumeIn: (poolName, name) => {
        const pool = pools.find((each) => each.name === poolName);
        return Promise.resolve(stored(volumes.find((volume) => volume.name === name && volume.poolId === pool?.id)));
      },
      pools: () => Promise.resolve(pools),
      volumesNamed: () => Promise.resolve([]),
      imageAt: () => Promise.resolve(undefined),
      hasImage: () => Promise.resolve(false),
    };
  }
}

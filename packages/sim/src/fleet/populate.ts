// Fills a host of a fleet: pools, the default network, and its VMs with their disks, as if they had run for a while.
import { VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED } from "@innkeeper/libvirt/generated/domain-constant.ts";
import { occupy } from "#host/domain/lifecycle.ts";
import { SimDomain } from "#host/domain/sim-domain.ts";
import { newImage } from "#host/file/image.ts";
import { Random, hash, hashFraction } from "#host/random.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { FleetDeclaration, VmShape } from "./declaration.ts";
import { TemplateDocument, VmTemplate } from "./template.ts";

const SHARED_FOLDER = "/srv/shared";
const LOCAL_FOLDER = "/var/lib/libvirt/images";
const AGE_MAX_MS = 20 * 86_400_000;
const FILE_OWNER = { mode: 0o600, uid: 64_055, gid: 64_055 };

/** One template a shape. */
export class Templates {
  readonly #made = new Map<VmShape, VmTemplate>();
  readonly #shapes: readonly VmShape[];

  constructor(shapes: readonly VmShape[]) {
    this.#shapes = shapes;
  }

  /** @param at 0 … 1: which shape, by weight. */
  pick(at: number, domainType: string): { shape: VmShape; template: VmTemplate } {
    const total = this.#shapes.reduce((sum, { weight }) => sum + weight, 0);
    let left = at * total;
    const shape = this.#shapes.find(({ weight }) => (left -= weight) < 0) ?? this.#shapes.at(-1);
    if (shape === undefined) throw new Error("vmShapes must name at least one");
    const template = this.#made.get(shape) ?? new VmTemplate(shape, domainType);
    this.#made.set(shape, template);
    return { shape, template };
  }
}

export function populate(
  host: SimHost,
  cluster: string,
  count: number,
  fleet: FleetDeclaration,
  templates: Templates,
): void {
  const isShared = fleet.storage === "shared";
  definePools(host, cluster, isShared);
  const network = host.networks.define(NETWORK);
  host.networks.start(network);
  const folder = isShared ? SHARED_FOLDER : LOCAL_FOLDER;
  for (let index = 1; index <= count; index += 1) {
    const name = `${host.name}-vm${String(index).padStart(2, "0")}`;
    const random = new Random(hash(fleet.seed, name));
    const uuid = random.uuid();
    const { shape, template } = templates.pick(random.fraction(), host.node.shape.hasKvm ? "kvm" : "qemu");
    const disk = `${folder}/${name}.qcow2`;
    const image = newImage("qcow2", shape.diskGiB * 1_073_741_824);
    const file = host.files.createImage(disk, FILE_OWNER, image);
    file.preallocate(Math.floor(shape.diskGiB * 1_073_741_824 * (0.1 + 0.3 * random.fraction())));
    const document = new TemplateDocument(template, { name, uuid, mac: random.mac(), disk });
    const domain = new SimDomain(host, uuid, name, document, true);
    host.domains.add(domain);
    if (random.fraction() < fleet.runningPart) run(host, domain);
  }
  for (const pool of host.pools.all) if (pool.isActive) pool.refresh();
}

/** It has been running for some hours or weeks. */
function run(host: SimHost, domain: SimDomain): void {
  occupy(host.domains, domain);
  const startedMs = host.clock.steadyMs() - hashFraction(domain.uuid, "age") ** 2 * AGE_MAX_MS;
  if (domain.run !== null) domain.run = { ...domain.run, startedMs, agentFromMs: startedMs };
  domain.setState(VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED);
  domain.countFrom(startedMs);
  domain.autostart = true;
}

function definePools(host: SimHost, cluster: string, isShared: boolean): void {
  const define = (xml: string): void => {
    const pool = host.pools.define(xml);
    host.pools.start(pool, true);
    host.pools.setAutostart(pool, true);
  };
  define(`<pool type='dir'><name>default</name><target><path>${LOCAL_FOLDER}</path></target></pool>`);
  if (!isShared) return;
  const source = `<source><host name='${cluster}-nfs'/><dir path='/export/${cluster}'/><format type='nfs'/></source>`;
  define(`<pool type='netfs'><name>shared</name>${source}<target><path>${SHARED_FOLDER}</path></target></pool>`);
}

const NETWORK = `<network><name>default</name><forward mode='nat'/><bridge name='virbr0' stp='on' delay='0'/>
<ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>`;

// Definitions of a fleet's VMs. Thousands of one shape differ in a few words: the text is made once a shape, with gaps, and
// a VM keeps what fills them. One that is changed gets a text of its own.
import { completeDefinition } from "#host/domain/definition.ts";
import { readFacts } from "#host/domain/facts.ts";
import { makeLive } from "#host/domain/live.ts";
import { Random } from "#host/random.ts";
import { format } from "#xml/element.ts";
import { parse } from "#xml/parse.ts";
import type { DomainDocument } from "#host/domain/document.ts";
import type { DomainFacts } from "#host/domain/facts.ts";
import type { LiveFacts } from "#host/domain/live.ts";
import type { Element } from "#xml/element.ts";
import type { VmShape } from "./declaration.ts";

/** What stands in the gaps while the text is made: valid where it stands, and nowhere else in it. */
const GAP = {
  name: "gap-name",
  uuid: "6a700000-0000-4000-8000-000000006a70",
  mac: "52:54:00:6a:70:00",
  disk: "/gap/disk.qcow2",
  id: 987_654_301,
  vnet: 987_654_302,
  pty: 987_654_303,
  port: 987_654_304,
  agent: "state='connected'",
};
type GapName = keyof typeof GAP;
type Values = Readonly<Record<GapName, string>>;

class Template {
  readonly #parts: readonly (string | { readonly gap: GapName })[];

  constructor(text: string) {
    const gaps = Object.entries(GAP) as [GapName, string | number][];
    const pattern = new RegExp(gaps.map(([, value]) => String(value)).join("|"), "gu");
    const byValue = new Map(gaps.map(([gap, value]) => [String(value), gap]));
    const parts: (string | { gap: GapName })[] = [];
    let at = 0;
    for (const match of text.matchAll(pattern)) {
      parts.push(text.slice(at, match.index));
      const gap = byValue.get(match[0]);
      if (gap !== undefined) parts.push({ gap });
      at = match.index + match[0].length;
    }
    this.#parts = [...parts, text.slice(at)];
  }

  render(values: Values): string {
    return this.#parts.map((part) => (typeof part === "string" ? part : values[part.gap])).join("");
  }
}

export class VmTemplate {
  readonly config: Template;
  readonly live: Template;
  readonly facts: DomainFacts;

  constructor(shape: VmShape, domainType: string) {
    const root = parse(sourceXml(shape, domainType));
    completeDefinition(root, new Random(1));
    this.facts = readFacts(root);
    this.config = new Template(format(root));
    const facts = { id: GAP.id, name: GAP.name, displayPort: GAP.port, firstVnet: GAP.vnet, firstPty: GAP.pty };
    makeLive(root, { ...facts, isAgentConnected: true }, { find: () => undefined });
    this.live = new Template(format(root));
  }
}

export interface VmIdentity {
  readonly name: string;
  readonly uuid: string;
  readonly mac: string;
  readonly disk: string;
}

export class TemplateDocument implements DomainDocument {
  readonly #template: VmTemplate;
  readonly #identity: VmIdentity;
  #facts: DomainFacts | undefined;

  constructor(template: VmTemplate, identity: VmIdentity) {
    this.#template = template;
    this.#identity = identity;
  }

  text(): string {
    const none = { id: "", vnet: "", pty: "", port: "", agent: "" };
    return this.#template.config.render({ ...this.#identity, ...none });
  }

  root(): Element {
    return parse(this.text());
  }

  liveText({ id, firstVnet, firstPty, displayPort, isAgentConnected }: LiveFacts): string {
    return this.#template.live.render({
      ...this.#identity,
      id: String(id),
      vnet: String(firstVnet),
      pty: String(firstPty),
      port: String(displayPort),
      agent: isAgentConnected ? "state='connected'" : "state='disconnected'",
    });
  }

  facts(): DomainFacts {
    this.#facts ??= this.#readFacts();
    return this.#facts;
  }

  #readFacts(): DomainFacts {
    const { facts } = this.#template;
    const { disk, mac } = this.#identity;
    return {
      ...facts,
      disks: facts.disks.map((each) => (each.source === GAP.disk ? { ...each, source: disk } : each)),
      nics: facts.nics.map((each) => ({ ...each, mac })),
    };
  }
}

function sourceXml({ vcpus, memoryMiB }: VmShape, domainType: string): string {
  return `<domain type='${domainType}'>
  <name>${GAP.name}</name>
  <uuid>${GAP.uuid}</uuid>
  <memory unit='MiB'>${memoryMiB}</memory>
  <vcpu>${vcpus}</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  <cpu mode='host-model'/>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='${GAP.disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='bridge'><mac address='${GAP.mac}'/><source bridge='br0'/><model type='virtio'/></interface>
    <serial type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' port='-1'/>
    <video><model type='virtio'/></video>
    <memballoon model='virtio'><stats period='10'/></memballoon>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>`;
}

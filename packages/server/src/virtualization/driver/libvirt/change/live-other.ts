/** I/O threads and metadata of a running guest. Other hardware waits for the next start. */
import {
  type CallOptions,
  type Connection,
  type NonnullDomain,
  VIR_DOMAIN_AFFECT_LIVE,
  VIR_DOMAIN_METADATA_DESCRIPTION,
  VIR_DOMAIN_METADATA_ELEMENT,
} from "@innkeeper/libvirt";
import type { Element } from "#libvirt/xml.ts";
import { child } from "../domain-xml/element.ts";
import { metadataNamespace, metadataPrefix, metadataXml } from "../domain-xml/metadata.ts";
import type { LiveGuest, LiveStep } from "./live-step.ts";

export function ioThreadSteps({ remote, dom, options, spec }: LiveGuest, count: number | undefined): LiveStep[] {
  const before = spec.ioThreads ?? 0;
  if (count === undefined) return [];
  const flags = VIR_DOMAIN_AFFECT_LIVE;
  const addThread = (iothreadId: number) => remote.domainAddIothread({ dom, iothreadId, flags }, options);
  const removeThread = (iothreadId: number) => remote.domainDelIothread({ dom, iothreadId, flags }, options);
  const steps: LiveStep[] = [];
  for (let id = before + 1; id <= count; id++) {
    steps.push({ what: `I/O thread ${id}`, run: () => addThread(id), undo: () => removeThread(id) });
  }
  for (let id = before; id > count; id--) {
    steps.push({ what: `I/O thread ${id}`, run: () => removeThread(id), undo: () => addThread(id) });
  }
  return steps;
}

/** What of a domain is Innkeeper's to write, as domainSetMetadata takes it; null: none. */
export interface OwnFacts {
  readonly description: string | null;
  readonly metadata: string | null;
}

export function ownFacts(root: Element): OwnFacts {
  return { description: child(root, "description")?.textContent ?? null, metadata: metadataXml(root) ?? null };
}

/**
 * Our metadata and the description to a domain, without touching anything else. What `before` has already is not set: each
 * time is an event, after which the VM is read anew.
 */
export async function setMetadata(
  guest: { readonly remote: Connection["remote"]; readonly dom: NonnullDomain; readonly options: CallOptions },
  { description, metadata }: OwnFacts,
  flags: number,
  before?: OwnFacts,
): Promise<void> {
  const { remote, dom, options } = guest;
  if (before?.description !== description) {
    const type = VIR_DOMAIN_METADATA_DESCRIPTION;
    await remote.domainSetMetadata({ dom, type, metadata: description, flags }, options);
  }
  if (before?.metadata === metadata) return;
  const element = { type: VIR_DOMAIN_METADATA_ELEMENT, metadata, key: metadataPrefix, uri: metadataNamespace };
  await remote.domainSetMetadata({ dom, ...element, flags }, options);
}

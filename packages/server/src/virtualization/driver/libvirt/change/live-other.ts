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

/**
 * Our metadata and the description of `after` to a domain, without touching anything else. What `before` has already is
 * not set: each time is an event, after which the VM is read anew.
 */
export async function setMetadata(
  guest: { readonly remote: Connection["remote"]; readonly dom: NonnullDomain; readonly options: CallOptions },
  after: Element,
  flags: number,
  before?: Element,
): Promise<void> {
  const { remote, dom, options } = guest;
  const description = descriptionOf(after);
  if (before === undefined || descriptionOf(before) !== description) {
    const type = VIR_DOMAIN_METADATA_DESCRIPTION;
    await remote.domainSetMetadata({ dom, type, metadata: description, flags }, options);
  }
  const metadata = metadataXml(after) ?? null;
  if (before !== undefined && (metadataXml(before) ?? null) === metadata) return;
  const element = { type: VIR_DOMAIN_METADATA_ELEMENT, metadata, key: metadataPrefix, uri: metadataNamespace };
  await remote.domainSetMetadata({ dom, ...element, flags }, options);
}

function descriptionOf(root: Element): string | null {
  return child(root, "description")?.textContent ?? null;
}

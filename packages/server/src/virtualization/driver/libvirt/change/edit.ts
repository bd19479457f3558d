/**
 * A client's edit of a guest's definition. It is defined as a whole, so the guest follows it at its next start, as with
 * virsh edit. Console passwords and Innkeeper's own facts are in no document that clients see, and stay.
 */
import { VIR_DOMAIN_DEFINE_VALIDATE, VIR_DOMAIN_XML_INACTIVE, VIR_DOMAIN_XML_SECURE } from "@innkeeper/libvirt";
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import type { DefinitionWitness, GuestLifecycle } from "#virtualization/port.ts";
import { checkHost, checkSets } from "../check.ts";
import { definitionXml, type DomainCall } from "../driver-context.ts";
import { differences } from "../domain-xml/compare.ts";
import { parseDomain } from "../domain-xml/document.ts";
import { checkEdit } from "../domain-xml/document-edit.ts";
import { child } from "../domain-xml/element.ts";
import { copyMetadata, editMetadata } from "../domain-xml/metadata.ts";
import { copySecrets, withoutSecrets } from "../domain-xml/secret.ts";
import { readSpec } from "../domain-xml/spec.ts";

type Edit = GuestLifecycle["edit"];

export async function editGuest(
  domain: DomainCall,
  edit: Parameters<Edit>[1],
  witness?: DefinitionWitness,
): ReturnType<Edit> {
  const { connection, remote, options } = domain;
  const present = parseXml(edit.from);
  const next = parseDomain(edit.document);
  checkEdit(present, next);
  const spec = readSpec(next);
  const changed = differences(readSpec(present), spec);
  checkSets(spec);
  if (changed.some((path) => /^(cpu|memory)\./.test(path))) await checkHost(connection, spec, options);
  const description = child(next, "description")?.textContent ?? "";
  if (edit.metadata === undefined) return { spec, changed, description };
  copyMetadata(present, next);
  editMetadata(next, { ...edit.metadata, description });
  await witness?.meant(withoutSecrets(next));
  copySecrets(parseXml(await definitionXml(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE)), next);
  await remote.domainDefineXmlFlags({ xml: serializeXml(next), flags: VIR_DOMAIN_DEFINE_VALIDATE }, options);
  await witness?.defined(await definitionXml(domain));
  return { spec, changed, description };
}

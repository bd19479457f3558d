/**
 * A client's edit of a guest's definition. It is defined as a whole, so the guest follows it at its next start, as with
 * virsh edit. Console passwords and Innkeeper's own facts are in no document that clients see, and stay.
 */
import { VIR_DOMAIN_DEFINE_VALIDATE, VIR_DOMAIN_XML_INACTIVE, VIR_DOMAIN_XML_SECURE } from "@innkeeper/libvirt";
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import type { GuestLifecycle } from "#virtualization/port.ts";
import { checkHost, checkSets } from "../check.ts";
import type { DomainCall } from "../driver-context.ts";
import { differences } from "../domain-xml/compare.ts";
import { parseDomain } from "../domain-xml/document.ts";
import { checkEdit } from "../domain-xml/document-edit.ts";
import { child } from "../domain-xml/element.ts";
import { copyMetadata, editMetadata } from "../domain-xml/metadata.ts";
import { copySecrets } from "../domain-xml/secret.ts";
import { readSpec } from "../domain-xml/spec.ts";

type Edit = GuestLifecycle["edit"];

export async function editGuest(domain: DomainCall, edit: Parameters<Edit>[1]): ReturnType<Edit> {
  const { connection, remote, dom, options } = domain;
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
  const { xml } = await remote.domainGetXmlDesc(
    { dom, flags: VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE },
    options,
  );
  copySecrets(parseXml(xml), next);
  await remote.domainDefineXmlFlags({ xml: serializeXml(next), flags: VIR_DOMAIN_DEFINE_VALIDATE }, options);
  return { spec, changed, description };
}

/**
 * Whether one host's libvirt reaches another's, found out by that libvirt itself: a migration is asked for with a
 * definition for the target that can't be this guest's (another UUID). libvirt checks what it would let go, opens the
 * connection to the target, asks what it supports, and then refuses the definition, before anything is prepared there
 * (libvirt 9.0 qemu_migration.c: qemuMigrationSrcPerformJob → …PerformPeer2Peer → …BeginXML, ABI check). The
 * guest runs on; for the moment it has a job. Invariant: every definition that is sent has a UUID of its own.
 */
import {
  VIR_MIGRATE_LIVE,
  VIR_MIGRATE_OFFLINE,
  VIR_MIGRATE_PEER2PEER,
  VIR_MIGRATE_PERSIST_DEST,
  VIR_MIGRATE_UNSAFE,
  VIR_DOMAIN_XML_INACTIVE,
  VIR_DOMAIN_XML_MIGRATABLE,
  LibvirtError,
} from "@innkeeper/libvirt";
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import type { MigrationContact } from "#virtualization/migration/port.ts";
import type { DomainCall } from "./driver-context.ts";
import { setText } from "./domain-xml/element.ts";

/** The daemon itself waits minutes for a host that is silent. */
const contactMs = 8_000;

/** libvirt's, GnuTLS's and the C library's words; first match wins. */
const resultByWords: readonly { readonly words: RegExp; readonly result: MigrationContact["result"] }[] = [
  {
    words: /name or service not known|failure in name resolution|no address associated|unable to resolve/i,
    result: "name-unknown",
  },
  // libvirt 9.0 remote_driver.c remoteAuthSASL; the daemon has nobody to ask, only its auth.conf.
  { words: /sasl|authentication callback|auth credentials|failed: authentication failed/i, result: "login-needed" },
  { words: /certificate|handshake|not trusted|authentication|host key/i, result: "untrusted" },
  {
    words: /unable to connect|connection refused|no route|timed out|connection reset|end of file/i,
    result: "unreachable",
  },
];

export async function contactHost(domain: DomainCall, targetUri: string): Promise<MigrationContact> {
  const { remote, dom, options } = domain;
  const isActive = (await remote.domainIsActive({ dom }, options)).active === 1;
  const xmlFlags = VIR_DOMAIN_XML_MIGRATABLE | (isActive ? 0 : VIR_DOMAIN_XML_INACTIVE);
  const root = parseXml((await remote.domainGetXmlDesc({ dom, flags: xmlFlags }, options)).xml);
  setText(root, "uuid", crypto.randomUUID());
  const flags =
    VIR_MIGRATE_PEER2PEER |
    VIR_MIGRATE_PERSIST_DEST |
    VIR_MIGRATE_UNSAFE |
    (isActive ? VIR_MIGRATE_LIVE : VIR_MIGRATE_OFFLINE);
  const silence = AbortSignal.timeout(contactMs);
  try {
    await remote.domainMigratePerform3Params(
      {
        dom,
        dconnuri: targetUri,
        params: { destination_xml: serializeXml(root) },
        cookieIn: new Uint8Array(),
        flags,
      },
      { ...options, signal: AbortSignal.any([options.signal, silence]) },
    );
    return { result: "reached", detail: "" };
  } catch (error) {
    if (error instanceof LibvirtError) return answerOf(error);
    if (!silence.aborted || options.signal.aborted) throw error;
    return { result: "no-answer", detail: `no answer within ${contactMs / 1000} s` };
  }
}

function answerOf(error: LibvirtError): MigrationContact {
  const detail = error.message;
  if (error.codeName === "VIR_ERR_CONFIG_UNSUPPORTED" && /uuid/i.test(detail)) return { result: "reached", detail: "" };
  const known = resultByWords.find(({ words }) => words.test(detail));
  return { result: known?.result ?? "refused", detail };
}

/**
 * Whether a host has the certificates with which QEMU encrypts a migration. libvirt has no call for that: asked for the
 * capabilities of an emulator, it looks first whether that file exists and may be executed, and says which of the two it is
 * not (libvirt 9.0 qemu_capabilities.c virQEMUCapsNewForBinaryInternal). Invariant: only the files named here are asked for,
 * never a path from outside, since what may be executed would be.
 */
import { LibvirtError } from "@innkeeper/libvirt";
import type { ConnectedCall } from "#libvirt/session.ts";

/** libvirt's own choice, in this order (libvirt 9.0 qemu.conf, migrate_tls_x509_cert_dir, default_tls_x509_cert_dir). */
const folders = ["/etc/pki/libvirt-migrate", "/etc/pki/qemu"] as const;
/** https://www.qemu.org/docs/master/system/tls.html; the source needs a client's, since the target asks for it. */
const filesOf = {
  server: ["ca-cert.pem", "server-cert.pem", "server-key.pem"],
  client: ["ca-cert.pem", "client-cert.pem", "client-key.pem"],
} as const;
const noSuchFile = 2; // ENOENT

export async function missingCertificates(
  connected: ConnectedCall,
  end: keyof typeof filesOf,
): Promise<string[] | undefined> {
  const [own, common] = folders;
  const folder = (await exists(connected, own)) === true ? own : common;
  const missing: string[] = [];
  for (const file of filesOf[end]) {
    const found = await exists(connected, `${folder}/${file}`);
    if (found === undefined) return undefined;
    if (!found) missing.push(`${folder}/${file}`);
  }
  return missing;
}

/** undefined: the host does not tell. */
async function exists({ connection, options }: ConnectedCall, emulatorbin: string): Promise<boolean | undefined> {
  try {
    await connection.remote.connectGetDomainCapabilities({ emulatorbin }, options);
    return undefined;
  } catch (error) {
    if (!(error instanceof LibvirtError) || error.codeName !== "VIR_ERR_SYSTEM_ERROR") {
      if (options.signal.aborted || !(error instanceof LibvirtError)) throw error;
      return undefined;
    }
    return error.int1 !== noSuchFile;
  }
}

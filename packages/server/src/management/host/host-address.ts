/** The request to add a host → how to reach it, and the name that it gets when none is given. */
import { checkName } from "@innkeeper/contract/name.ts";
import type { HostAdd } from "@innkeeper/contract/resource/host.ts";
import { AppError } from "#core/app-error.ts";
import type { HostAddress } from "#hardware/port.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { HostOperationDeps } from "./host-operation-deps.ts";

export async function hostAddress(request: HostAdd, defaultTls: HostOperationDeps["defaultTls"]): Promise<HostAddress> {
  const { uri, tls, ssh, sasl } = request;
  if ((tls?.clientCertificate === undefined) !== (tls?.clientKey === undefined)) {
    throw new AppError("invalid_field", "tls.clientCertificate and tls.clientKey belong together.", { field: "tls" });
  }
  // `qemu://server/system` without a transport is TLS, too (https://libvirt.org/uri.html).
  const isTls = /^[a-z]+(\+tls)?:\/\/[^/]/.test(uri);
  const login = sasl === undefined ? {} : { sasl };
  if (!isTls) return { uri, ...login, ...(ssh === undefined ? {} : { ssh }) };
  const own = await defaultTls();
  const client =
    tls?.clientCertificate === undefined || tls.clientKey === undefined
      ? { clientCertificate: own.clientCertificate, clientKey: own.clientKey }
      : { clientCertificate: tls.clientCertificate, clientKey: tls.clientKey };
  return { uri, ...login, tls: { caCertificate: tls?.caCertificate ?? own.caCertificate, ...client } };
}

/** The first of `node1`, `node1-2`, `node1-3` … that is free; the machine's own name says nothing when it is localhost. */
export function freeHostName(inventory: Inventory, hostname: string, uri: string): string {
  const fromUri = /:\/\/(?:[^@/]*@)?(\[[^\]]*\]|[^:/?]*)/.exec(uri)?.[1] ?? "";
  const short = hostname.split(".")[0] ?? "";
  const base = [short, fromUri, "host"].find(
    (name) => name !== "" && name !== "localhost" && checkName(name) === undefined,
  );
  const stem = base ?? "host";
  const taken = new Set(inventory.list("host").map((host) => host.name));
  for (let number = 1; ; number++) {
    const name = number === 1 ? stem : `${stem}-${number}`;
    if (!taken.has(name)) return name;
  }
}

/**
 * A new VM from a domain document of libvirt: for what the fields of the request do not model. The request's own fields
 * win; what decides where a guest runs and what it reaches there (host, disks, networks) is only ever in them.
 */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { strict } from "./base.ts";

const domainXml = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 262_144, description }));

export const vmCreateDocument = {
  uuid: Type.Optional(
    Type.String({
      pattern: "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
      description: "libvirt's UUID of the domain; default: a random one",
    }),
  ),
  domainXml: domainXml(
    "a <domain> that the VM is defined from, instead of Innkeeper's defaults. Its disks are those of `disks`, by target, its interfaces those of `nics`, by order; it names no path and no device of the host",
  ),
  installXml: domainXml(
    "with domainXml and start: the <domain> of the first start alone, such as an installer's boot order",
  ),
};

/** A VM's definition as a whole, edited. */
export const VmEdit = Type.Object(
  {
    domainXml: Type.String({
      minLength: 1,
      maxLength: 524_288,
      description:
        "the <domain>, as vmXml gives it with inactive=true, edited. Name and UUID stay; what it is attached to on its host (files, devices, networks) may go, but nothing may be added or changed there. Console passwords and Innkeeper's own metadata stay as they are",
    }),
    baseSha256: Type.Optional(
      Type.String({
        pattern: "^[0-9a-f]{64}$",
        description:
          "SHA-256 in hex of the XML that was edited, as vmXml gave it; refused with precondition_failed if the host has another by now",
      }),
    ),
  },
  strict,
);
export type VmEdit = Static<typeof VmEdit>;

/** What vmCreate would make, where, and why there. Nothing was touched. */
export const VmPreview = Type.Object({
  hostId: IdOf("host"),
  hostName: Type.String(),
  reasons: Type.Array(Type.String(), { description: "why this host" }),
  domainXml: Type.String({ description: "as libvirt would be given it" }),
  installXml: Type.Optional(Type.String({ description: "of the first start, where the request has one" })),
});
export type VmPreview = Static<typeof VmPreview>;

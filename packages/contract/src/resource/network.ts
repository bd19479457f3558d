/** A libvirt network of one host, that guests' network cards attach to by name. */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { Name } from "../name.ts";
import { baseFields, strict } from "./base.ts";

export const networkForwardModes = [
  "isolated",
  "nat",
  "route",
  "open",
  "bridge",
  "private",
  "vepa",
  "passthrough",
  "hostdev",
] as const;
export type NetworkForwardMode = (typeof networkForwardModes)[number];

export const Network = Type.Object({
  ...baseFields("network"),
  hostId: IdOf("host"),
  name: Type.String(),
  uuid: Type.String(),
  active: Type.Boolean(),
  autostart: Type.Boolean(),
  forwardMode: Type.Unsafe<NetworkForwardMode>({ type: "string", enum: networkForwardModes }),
  bridge: Type.Optional(Type.String()),
  addresses: Type.Array(Type.String({ description: "CIDR, e.g. 192.168.122.1/24" })),
  dhcp: Type.Boolean(),
});
export type Network = Static<typeof Network>;

export const NetworkCreate = Type.Object(
  {
    host: Type.String({ minLength: 1, maxLength: 200, description: "name or id of the host" }),
    name: Name,
    forwardMode: Type.Unsafe<"isolated" | "nat" | "bridge">({ type: "string", enum: ["isolated", "nat", "bridge"] }),
    bridge: Type.Optional(
      Type.String({ pattern: "^[A-Za-z0-9._-]{1,15}$", description: "bridge mode: the host's existing bridge" }),
    ),
    address: Type.Optional(
      Type.String({
        pattern: "^[0-9.]+/[0-9]{1,2}$",
        description: "isolated, nat: the host's address with prefix length",
      }),
    ),
    dhcp: Type.Optional(
      Type.Object(
        { start: Type.String({ pattern: "^[0-9.]{7,15}$" }), end: Type.String({ pattern: "^[0-9.]{7,15}$" }) },
        strict,
      ),
    ),
    autostart: Type.Optional(Type.Boolean({ default: true })),
  },
  strict,
);
export type NetworkCreate = Static<typeof NetworkCreate>;

/** A cluster: hosts that belong together, under one name. A host is in one at most and says so itself (`clusterId`). */
import { Type, type Static } from "typebox";
import { Name } from "../name.ts";
import { baseFields, Description, strict, Time } from "./base.ts";

export const Cluster = Type.Object({
  ...baseFields("cluster"),
  name: Name,
  description: Description,
  createdAt: Time,
});
export type Cluster = Static<typeof Cluster>;

export const ClusterCreate = Type.Object({ name: Name, description: Type.Optional(Description) }, strict);
export type ClusterCreate = Static<typeof ClusterCreate>;

export const ClusterChange = Type.Object(
  { name: Type.Optional(Name), description: Type.Optional(Description) },
  { ...strict, minProperties: 1 },
);
export type ClusterChange = Static<typeof ClusterChange>;

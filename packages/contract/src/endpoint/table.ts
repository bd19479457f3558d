/** All endpoints of the REST API by operation id. */
import type { Static, TSchema } from "typebox";
import type { Endpoint } from "./endpoint.ts";
import { clusterEndpoint } from "./cluster.ts";
import { hostEndpoint } from "./host.ts";
import { networkEndpoint } from "./network.ts";
import { snapshotEndpoint } from "./snapshot.ts";
import { imageEndpoint, poolEndpoint, volumeEndpoint } from "./storage.ts";
import { eventEndpoint, systemEndpoint, taskEndpoint } from "./system.ts";
import { userEndpoint } from "./user.ts";
import { vmEndpoint } from "./vm.ts";

export const endpoint = {
  ...clusterEndpoint,
  ...hostEndpoint,
  ...vmEndpoint,
  ...snapshotEndpoint,
  ...poolEndpoint,
  ...volumeEndpoint,
  ...imageEndpoint,
  ...networkEndpoint,
  ...taskEndpoint,
  ...eventEndpoint,
  ...userEndpoint,
  ...systemEndpoint,
} as const satisfies Record<string, Endpoint>;

export type EndpointTable = typeof endpoint;
export type OperationId = keyof EndpointTable;

type ParameterNames<P extends string> = P extends `${string}{${infer Name}}${infer Rest}`
  ? Name | ParameterNames<Rest>
  : never;
type SchemaOf<E, K extends string> = E extends { readonly [key in K]: infer S extends TSchema } ? Static<S> : undefined;

/** Path parameters of an operation, e.g. `{ vmId: string }`. */
export type ParametersOf<O extends OperationId> = Record<ParameterNames<EndpointTable[O]["path"]>, string>;
export type QueryOf<O extends OperationId> = SchemaOf<EndpointTable[O], "query">;
export type BodyOf<O extends OperationId> = SchemaOf<EndpointTable[O], "body">;
export type ResponseOf<O extends OperationId> = SchemaOf<EndpointTable[O], "response">;

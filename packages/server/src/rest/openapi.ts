/**
 * The API as OpenAPI 3.1, made from the contract's endpoint table. TypeBox schemas are JSON Schema 2020-12, which is
 * what OpenAPI 3.1 takes; named ones become components.
 */
import type { TSchema } from "typebox";
import { apiPrefix, type Endpoint, kindOfParameter } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import { Problem, problemContentType } from "@innkeeper/contract/problem.ts";
import { IdOf } from "@innkeeper/contract/id.ts";
import { component } from "./openapi-component.ts";

type Json = Readonly<Record<string, unknown>>;

const names = new Map<unknown, string>(Object.entries(component).map(([name, schema]) => [schema, name]));

export function openapiDocument(version: string): Json {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [operationId, each] of Object.entries<Endpoint>(endpoint)) {
    const path = (paths[apiPrefix + each.path] ??= {});
    path[each.method.toLowerCase()] = operation(operationId, each);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Innkeeper",
      version,
      description: "One datacenter of Linux servers that run libvirt. Errors are problem+json (RFC 9457).",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "the secret of a session (login) or of an API token" },
      },
      schemas: Object.fromEntries(Object.entries(component).map(([name, schema]) => [name, resolve(schema, true)])),
      responses: {
        problem: {
          description: "It was refused or failed.",
          content: { [problemContentType]: { schema: resolve(Problem) } },
        },
      },
    },
  };
}

function operation(operationId: string, each: Endpoint): Json {
  const privilege = each.access === "open" || each.access === "self" ? undefined : each.access;
  const responseType = each.responseType ?? "application/json";
  const schema = each.response === undefined ? { type: "string", format: "binary" } : resolve(each.response);
  const isWebSocket = each.responseType === "websocket";
  const success = {
    description: isWebSocket ? "Switching to WebSocket." : each.status === 202 ? "The task." : "Done.",
    ...(each.status === 204 || isWebSocket ? {} : { content: { [responseType]: { schema } } }),
  };
  return {
    operationId,
    summary: each.summary,
    tags: [/^[a-z]+/.exec(each.path.slice(1))?.[0] ?? "system"],
    ...(each.access === "open" ? { security: [] } : {}),
    ...(privilege === undefined ? {} : { "x-privilege": privilege }),
    parameters: [...pathParameters(each.path), ...queryParameters(each), ...headerParameters(each)],
    ...requestBody(each),
    responses: { [isWebSocket ? 101 : each.status]: success, default: { $ref: "#/components/responses/problem" } },
  };
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => ({
    name,
    in: "path",
    required: true,
    schema: resolve(IdOf(kindOfParameter(name))),
  }));
}

function queryParameters(each: Endpoint): Json[] {
  const schema = each.query as { properties?: Record<string, TSchema>; required?: string[] } | undefined;
  return Object.entries(schema?.properties ?? {}).map(([name, property]) => ({
    name,
    in: "query",
    required: schema?.required?.includes(name) ?? false,
    schema: resolve(property),
  }));
}

function header(name: string, description: string): Json {
  return { name, in: "header", required: false, description, schema: { type: "string" } };
}

function headerParameters(each: Endpoint): Json[] {
  const changes = each.method !== "GET" && each.path.includes("{") && each.access !== "self";
  return [
    ...(changes ? [header("If-Match", "ETag that was read; 412 if it was changed since")] : []),
    ...(each.status === 202 ? [header("Idempotency-Key", "the same key and request is the same task for a day")] : []),
  ];
}

function requestBody(each: Endpoint): Json {
  if (each.bodyType !== undefined) {
    return {
      requestBody: { required: true, content: { [each.bodyType]: { schema: { type: "string", format: "binary" } } } },
    };
  }
  if (each.body === undefined) return {};
  const required = ((each.body as { required?: string[] }).required ?? []).length > 0;
  return { requestBody: { required, content: { "application/json": { schema: resolve(each.body) } } } };
}

/** The schema as plain JSON, with what has a name as a reference to it. */
function resolve(schema: unknown, isDefinition = false): unknown {
  const name = isDefinition ? undefined : names.get(schema);
  if (name !== undefined) return { $ref: `#/components/schemas/${name}` };
  if (Array.isArray(schema)) return schema.map((each) => resolve(each));
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolve(value)]));
}

/**
 * Requests made from the contract's endpoint table: right ones, nearly right ones, and hostile ones, the same for the same
 * seed. A request is JSON-safe, so that a failing one can be shown and sent again.
 */
import fc from "fast-check";
import type { TSchema } from "typebox";
import { type Endpoint, kindOfParameter } from "@innkeeper/contract/endpoint/endpoint.ts";
import { idPrefix, type Kind, newId } from "@innkeeper/contract/id.ts";

export interface FuzzRequest {
  readonly operationId: string;
  readonly method: string;
  /** Below the API's prefix, with its query. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent as it is; latin1 stands for bytes. */
  readonly body?: string;
  /** The value behind the body where it is JSON: what the schema must accept if the server does. */
  readonly json?: unknown;
}

/** Ids and names of what exists, by the path parameter or field that takes them. */
export type Known = Readonly<Record<string, readonly string[]>>;

interface Node {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
}

/** Texts that have broken programs: paths, markup, control and bidi characters, formats, other systems' syntax. */
const hostileTexts: readonly string[] = [
  "",
  " ",
  "../../../../etc/passwd",
  "/dev/sda",
  "..%2f..%2fetc",
  "a/b\\c",
  "<script>alert(1)</script>",
  '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
  "]]><domain/>",
  "'; DROP TABLE resource; --",
  "$(reboot)`reboot`|reboot",
  "${jndi:ldap://x}",
  "%s%n%d",
  "\u0000",
  "a\u0000b",
  "a\r\nSet-Cookie: x=1",
  "\u001b[2J\u001b]0;x\u0007",
  "\u202egnp.exe",
  "\u2066x\u2069",
  "\ufeffx",
  "\ud800",
  "中文",
  "😀",
  "e\u0301".repeat(100),
  "x".repeat(201),
  "x".repeat(5000),
  "__proto__",
  "constructor",
  "-1",
  "1e999",
  "NaN",
  "null",
  "0x10",
  "-rf",
  "--help",
  ".",
  "..",
  "~",
  "con",
  "qemu:commandline",
];
const hostileNumbers = [-1, 0, 1, 0.5, -0.5, 1e308, -1e308, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2, 2 ** 63, 1e21];
const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(...hostileTexts),
  fc.constantFrom<unknown>(...hostileNumbers),
  fc.constantFrom<unknown>(null, true, false, [], {}, [[]], [null], { a: 1 }),
  fc.jsonValue({ maxDepth: 2 }),
);

/** Bodies that are no JSON of the contract, whatever the endpoint. */
const brokenBodies: readonly string[] = [
  "{",
  "nul",
  '{"a":}',
  '{"name":"a",}',
  "\u00ff\u00fe{}",
  '{"name":"\u00ff\u00c0"}',
  "\u00ef\u00bb\u00bf{}",
  "[".repeat(20_000),
  '{"a":'.repeat(5000),
  `${"[".repeat(5000)}${"]".repeat(5000)}`,
  '{"__proto__":{"role":"administrator"}}',
  '{"constructor":{"prototype":{"x":1}}}',
  '{"name":"a","name":"b"}',
  `{"sizeBytes":${"9".repeat(400)}}`,
  `{"n":1e400}`,
  `"${"x".repeat(100_000)}"`,
  "{} {}",
  "a=b&c=d",
  "<xml/>",
];

interface Wish {
  /** Of values that are hostile instead of what the schema wants, in percent. */
  readonly share: number;
  readonly known: Known;
}

function valueOf(schema: TSchema, wish: Wish): fc.Arbitrary<unknown> {
  return arbitrary(schema as unknown as Node, wish);
}

function arbitrary(node: Node, wish: Wish, name = ""): fc.Arbitrary<unknown> {
  const { share, known } = wish;
  const existing = known[name] ?? [];
  const isText = node.type === "string" && existing.length > 0;
  const text = isText ? [{ weight: 4, arbitrary: fc.constantFrom<unknown>(...existing) }] : [];
  const right = fc.oneof(...text, { weight: 1, arbitrary: rightValue(node, wish, name) });
  return share === 0
    ? right
    : fc.oneof({ weight: 100 - share, arbitrary: right }, { weight: share, arbitrary: hostile });
}

function rightValue(node: Node, wish: Wish, name: string): fc.Arbitrary<unknown> {
  if (node.anyOf !== undefined) return fc.oneof(...node.anyOf.map((part) => arbitrary(part, wish, name)));
  if (node.enum !== undefined) return fc.constantFrom(...node.enum);
  switch (node.type) {
    case "object":
      return objectOf(node, wish);
    case "array":
      return fc.array(node.items === undefined ? hostile : arbitrary(node.items, wish, name), { maxLength: 3 });
    case "integer":
    case "number": {
      const { minimum: min = -10, maximum = Number.MAX_SAFE_INTEGER } = node;
      const max = Math.min(maximum, Number.MAX_SAFE_INTEGER);
      return fc.oneof(fc.integer({ min, max: Math.min(max, min + 4096) }), fc.constantFrom(min, max));
    }
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    default:
      return textOf(node);
  }
}

function objectOf({ properties = {}, required = [] }: Node, wish: Wish): fc.Arbitrary<unknown> {
  const fields = Object.fromEntries(
    Object.entries(properties).map(([name, part]) => [name, arbitrary(part, wish, name)]),
  );
  const record = sparse(fields, required);
  if (wish.share === 0) return record;
  const extra = fc.tuple(record, fc.constantFrom("noSuchField", "__proto__", "constructor", ""), hostile);
  return fc.oneof(
    { weight: 90, arbitrary: record },
    // Own properties, as JSON.parse makes them.
    {
      weight: 5,
      arbitrary: extra.map(([object, name, value]) =>
        Object.defineProperty({ ...object }, name, { value, enumerable: true }),
      ),
    },
    { weight: 5, arbitrary: fc.record(fields, { requiredKeys: [] }) },
  );
}

/** What is required and, as people write it, a few of the rest; now and then half of it. */
function sparse(fields: Record<string, fc.Arbitrary<unknown>>, required: readonly string[]): fc.Arbitrary<object> {
  const optional = Object.keys(fields).filter((name) => !required.includes(name));
  const many = fc.record(fields, { requiredKeys: [...required] });
  if (optional.length < 3) return many;
  const few = fc
    .tuple(many, fc.subarray(optional, { maxLength: 2 }))
    .map(([object, chosen]) =>
      Object.fromEntries(Object.entries(object).filter(([name]) => required.includes(name) || chosen.includes(name))),
    );
  return fc.oneof({ weight: 2, arbitrary: few }, { weight: 1, arbitrary: many });
}

function textOf({ pattern, minLength = 0, maxLength = 40 }: Node): fc.Arbitrary<unknown> {
  if (pattern === undefined) return fc.string({ unit: "grapheme", minLength, maxLength: Math.min(maxLength, 40) });
  return fc.stringMatching(new RegExp(pattern, "u"), { size: "small" });
}

function idOf(parameter: string, known: Known, favour: number): fc.Arbitrary<string> {
  const fresh = fc.constant(`${idPrefix[kindOfParameter(parameter)]}-${"0".repeat(12)}`);
  const existing = known[parameter] ?? [];
  return fc.oneof(
    { weight: 4 * favour, arbitrary: existing.length === 0 ? fresh : fc.constantFrom(...existing) },
    { weight: 3, arbitrary: fresh },
    { weight: 2, arbitrary: fc.constantFrom(...hostileTexts.filter((text) => text.isWellFormed() && text !== "")) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(...Object.keys(idPrefix))
        .map((each) => newId(each as Kind).slice(0, -12) + "0".repeat(12)),
    },
  );
}

/** Right for the schema, with values as texts; or with parameters that are doubled, unknown or not to be decoded. */
function queryOf(schema: TSchema | undefined, known: Known, favour: number): fc.Arbitrary<string> {
  const right =
    schema === undefined
      ? fc.constant("")
      : valueOf(schema, { share: 0, known }).map((query) => encodeQuery(Object.entries(query as object)));
  const wrongValues =
    schema === undefined
      ? fc.constant("noSuchParameter=1")
      : valueOf(schema, { share: 40, known }).map((query) =>
          typeof query === "object" && query !== null ? encodeQuery(Object.entries(query)) : "x",
        );
  const odd = fc.constantFrom(
    "a=1&a=2",
    "limit=1&limit=2",
    "%",
    "%zz=1",
    "=",
    "&&&",
    "__proto__=1",
    "a[b]=c",
    "filter=%00",
    "waitMs=-1",
    "fields=__proto__",
    "sort=-",
    "cursor=%7B%7D",
    "?",
  );
  return fc.oneof(
    { weight: 6 * favour, arbitrary: right },
    { weight: 3, arbitrary: wrongValues },
    { weight: 1, arbitrary: odd },
  );
}

function encodeQuery(entries: readonly (readonly [string, unknown])[]): string {
  return entries
    .map(([name, value]) => {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      return `${encodeURIComponent(name)}=${encodeURIComponent((text ?? "").toWellFormed())}`;
    })
    .join("&");
}

const oddHeaders: fc.Arbitrary<Record<string, string>> = fc.constantFrom<Record<string, string>[]>(
  { "if-match": '"0"' },
  { "if-match": '"1", "2"' },
  { "if-match": 'W/"1"' },
  { "if-match": "x".repeat(300) },
  { "idempotency-key": "" },
  { "idempotency-key": "k".repeat(201) },
  { "idempotency-key": "same" },
  { "x-request-id": "a b<c>" },
  { "x-forwarded-for": "127.0.0.1" },
  { "content-type": "text/plain" },
  { "content-type": "application/json; charset=latin1" },
  { "content-type": "multipart/form-data; boundary=x" },
  { "content-encoding": "gzip" },
  { accept: "text/html" },
  { upgrade: "h2c", connection: "upgrade" },
  { expect: "100-continue" },
  { "if-none-match": "*" },
  { "last-event-id": "-1" },
  { "x-http-method-override": "DELETE" },
);

type Body = Pick<FuzzRequest, "body" | "json">;

function bodyOf(each: Endpoint, known: Known, favour: number): fc.Arbitrary<Body> {
  if (each.bodyType !== undefined)
    return fc.string({ unit: "binary-ascii", maxLength: 2000 }).map((body) => ({ body }));
  const json = (share: number): fc.Arbitrary<Body> =>
    valueOf(each.body as TSchema, { share, known }).map((value) => ({ body: JSON.stringify(value), json: value }));
  const broken = fc.constantFrom(...brokenBodies).map((body) => ({ body }));
  if (each.body === undefined) {
    return fc.oneof({ weight: 9 * favour, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: broken });
  }
  return fc.oneof(
    { weight: 4 * favour, arbitrary: json(0) },
    { weight: 4, arbitrary: json(6) },
    { weight: 1, arbitrary: json(50) },
    { weight: 1, arbitrary: broken },
  );
}

interface RequestOptions {
  readonly count: number;
  readonly seed: number;
  readonly known: Known;
  /** How many times as many parts as otherwise are right. */
  readonly favour?: number;
}

/** `count` requests of an endpoint. */
export function requestsOf(
  [operationId, each]: readonly [string, Endpoint],
  { count, seed, known, favour = 1 }: RequestOptions,
): FuzzRequest[] {
  const names = [...each.path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
  const headers = fc.oneof(
    { weight: 5 * favour, arbitrary: fc.constant<Record<string, string>>({}) },
    { weight: 1, arbitrary: oddHeaders },
  );
  const ids = fc.tuple(...names.map((name) => idOf(name, known, favour)));
  const parts = fc.tuple(ids, queryOf(each.query, known, favour), headers, bodyOf(each, known, favour));
  const request = parts.map(([values, query, extra, content]) => {
    const path = names.reduce(
      (text, name, index) => text.replace(`{${name}}`, encodeURIComponent(values[index] ?? "")),
      each.path as string,
    );
    const type = content.body === undefined ? {} : { "content-type": each.bodyType ?? "application/json" };
    return {
      operationId,
      method: each.method,
      target: query === "" ? path : `${path}?${query}`,
      headers: { ...type, ...extra },
      ...content,
    };
  });
  return fc.sample(request, { numRuns: count, seed });
}

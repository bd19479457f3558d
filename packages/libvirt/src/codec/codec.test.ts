import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { lxcSchema } from "#generated/lxc-schema.ts";
import { netSchema } from "#generated/net-schema.ts";
import { qemuSchema } from "#generated/qemu-schema.ts";
import { remoteSchema } from "#generated/remote-schema.ts";
import { schema as protocol } from "#rpc/protocol.ts";
import { CodecError } from "./codec-error.ts";
import { decode } from "./decode.ts";
import { encode } from "./encode.ts";
import { KIND, Schema } from "./schema.ts";
import { typed } from "./typed-parameter.ts";
import { XdrReader } from "./xdr-reader.ts";
import { XdrWriter } from "./xdr-writer.ts";
import type { FieldType } from "./schema.ts";

function write(type: FieldType, value: unknown): Buffer {
  const writer = new XdrWriter(33_554_432);
  encode(writer, type, value);
  return Buffer.from(writer.written());
}

function read(type: FieldType, bytes: Uint8Array): unknown {
  const reader = new XdrReader(bytes);
  const value = decode(reader, type);
  assert.equal(reader.remaining, 0, "bytes left over");
  return value;
}

function only(source: string): FieldType {
  return new Schema({ S: source, Inner: "n:int s:string<8>", U: "switch 1=int 2=string<4> 3=void" }).type("S");
}

const text = (limit: number): fc.Arbitrary<string> =>
  fc
    .string({ unit: "grapheme", maxLength: Math.min(limit, 60) })
    .filter((value) => !value.includes("\0") && value.isWellFormed() && Buffer.byteLength(value) <= limit);
const bytes = (min: number, max: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: min, maxLength: Math.min(max, Math.max(min, 70)) });

/** A value of the type, made from the type itself: every struct of the protocol is tried without a line about it. */
function arbitrary(type: FieldType): fc.Arbitrary<unknown> {
  switch (type.kind) {
    case KIND.int:
      return fc.integer({ min: -0x80000000, max: 0x7fffffff });
    case KIND.uint:
      return fc.integer({ min: 0, max: 0xffffffff });
    case KIND.short:
      return fc.integer({ min: -0x8000, max: 0x7fff });
    case KIND.ushort:
      return fc.integer({ min: 0, max: 0xffff });
    case KIND.char:
      return fc.integer({ min: -0x80, max: 0x7f });
    case KIND.uchar:
      return fc.integer({ min: 0, max: 0xff });
    case KIND.hyper:
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case KIND.uhyper:
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case KIND.bool:
      return fc.boolean();
    case KIND.float:
      return fc.float({ noNaN: true });
    case KIND.double:
      return fc.double({ noNaN: true });
    case KIND.void:
      return fc.constant(undefined);
    case KIND.string:
      return text(type.limit);
    case KIND.uuid:
      return fc.uuid();
    case KIND.opaque:
      return bytes(0, type.limit);
    case KIND.fixedOpaque:
      return bytes(type.limit, type.limit);
    case KIND.text:
    case KIND.fixedText:
      return text(type.limit - 1);
    case KIND.bytes:
      return bytes(0, type.limit);
    case KIND.params:
      return parameters();
    case KIND.optional:
      return fc.option(arbitrary(element(type)), { nil: null });
    case KIND.array:
      return fc.array(arbitrary(element(type)), { maxLength: Math.min(type.limit, 5) });
    case KIND.fixedArray:
      return fc.array(arbitrary(element(type)), { minLength: type.limit, maxLength: type.limit });
    case KIND.struct:
      return fc.record(
        Object.fromEntries(
          (type.struct?.names ?? []).map((name, index) => [name, arbitrary(type.struct?.types[index] ?? type)]),
        ),
        { noNullPrototype: true },
      );
    case KIND.union:
      return fc.oneof(
        ...[...(type.union ?? [])].map(([label, arm]) =>
          fc.record({ case: fc.constant(label), value: arbitrary(arm) }, { noNullPrototype: true }),
        ),
      );
    default:
      throw new Error(`kind ${type.kind}`);
  }
}

function element(type: FieldType): FieldType {
  if (type.element === null) throw new Error("no element");
  return type.element;
}

/** Values whose JavaScript type alone gives libvirt's type, under names that no table knows. */
function parameters(): fc.Arbitrary<unknown> {
  const scalar = fc.oneof(
    fc.integer({ min: -0x80000000, max: 0x7fffffff }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.boolean(),
    text(40),
  );
  return fc.dictionary(fc.stringMatching(/^x[a-z.0-9]{0,30}$/u), scalar, { maxKeys: 5, noNullPrototype: true });
}

describe("codec", () => {
  test("RFC 4506: sizes, order and padding", () => {
    const cases: [string, unknown, string][] = [
      ["v:int", -2, "fffffffe"],
      ["v:uint", 0xfffffffe, "fffffffe"],
      ["v:bool", true, "00000001"],
      ["v:hyper", -2n, "fffffffffffffffe"],
      ["v:uhyper", 2n ** 64n - 1n, "ffffffffffffffff"],
      ["v:float", 1.5, "3fc00000"],
      ["v:double", -2, "c000000000000000"],
      ["v:string<9>", "sillyé", "0000000773696c6c79c3a900"],
      ["v:opaque[3]", new Uint8Array([1, 2, 3]), "01020300"],
      ["v:opaque<5>", new Uint8Array([1]), "0000000101000000"],
      ["v:int[2]", [1, 2], "0000000100000002"],
      ["v:int<2>", [7], "0000000100000007"],
      ["v:int?", null, "00000000"],
      ["v:int?", 5, "0000000100000005"],
      ["v:uuid", "6695eb01-f6a4-8304-79aa-97f2502e193f", "6695eb01f6a4830479aa97f2502e193f"],
      ["v:text[3]", "ab", "000000610000006200000000"],
      ["v:text<9>", "a", "000000020000006100000000"],
      ["v:bytes<9>", new Uint8Array([255]), "00000001ffffffff"],
      ["v:U", { case: 2, value: "ab" }, "000000020000000261620000"],
      ["v:U", { case: 3, value: undefined }, "00000003"],
      ["v:Inner<3>", [{ n: 1, s: "" }], "000000010000000100000000"],
      ["v:string<4><2>", ["a", ""], "00000002000000016100000000000000"],
    ];
    for (const [source, value, hex] of cases) {
      assert.equal(write(only(source), { v: value }).toString("hex"), hex, source);
      assert.deepEqual(read(only(source), Buffer.from(hex, "hex")), { v: value }, source);
    }
    assert.equal(write(only("flags:uint=0"), {}).toString("hex"), "00000000");
    assert.equal(write(only("v:int?"), {}).toString("hex"), "00000000");
  });

  test("every struct of the protocol survives a round trip", () => {
    const names = [remoteSchema, qemuSchema, lxcSchema, netSchema].flatMap((each) => Object.keys(each));
    assert.ok(names.length > 690, `${names.length} structs`);
    for (const name of names) {
      const type = protocol.type(name);
      fc.assert(
        fc.property(arbitrary(type), (value) => assert.deepEqual(read(type, write(type, value)), value)),
        { numRuns: 8 },
      );
    }
  });

  test("random and truncated bytes give a CodecError or a value, never anything else", () => {
    const names = Object.keys(remoteSchema).filter((name) => name.endsWith("Ret"));
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.uint8Array({ maxLength: 400 }), (name, noise) => {
        try {
          decode(new XdrReader(noise), protocol.type(name));
        } catch (error) {
          assert.ok(error instanceof CodecError, String(error));
        }
      }),
      { numRuns: 3_000 },
    );
    const type = protocol.type("ConnectGetAllDomainStatsRet");
    const whole = write(type, {
      retStats: [
        { dom: { name: "a", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: 1 }, params: { "cpu.time": 5n } },
      ],
    });
    for (let end = 0; end < whole.byteLength; end += 1)
      assert.throws(() => decode(new XdrReader(whole.subarray(0, end)), type), CodecError);
  });

  test("hostile lengths are refused before anything is allocated", () => {
    const huge = Buffer.from("ffffffff", "hex");
    for (const name of [
      "v:string",
      "v:opaque<4294967295>",
      "v:int<4294967295>",
      "v:params<4294967295>",
      "v:text<4294967295>",
      "v:Inner<4294967295>",
    ]) {
      assert.throws(() => read(only(name), huge), /exceeds/u, name);
    }
    // A newer libvirt may have raised the limit, but not without end.
    assert.deepEqual(read(only("v:string<3>"), Buffer.from("0000000461626364", "hex")), { v: "abcd" });
    const long = Buffer.concat([Buffer.from("00000031", "hex"), Buffer.alloc(52, "a")]);
    assert.throws(() => read(only("v:string<3>"), long), /v: length 49 exceeds the limit of 48/u);
    assert.throws(() => read(only("v:int?"), Buffer.from("00000002", "hex")), /bool of 2/u);
  });

  test("wrong values name their field", () => {
    const cases: [string, unknown, RegExp][] = [
      ["v:int", 1.5, /v: an integer number is needed, not a fraction/u],
      ["v:int", "1", /v: an integer number/u],
      ["v:uint", -1, /v: -1 is not within/u],
      ["v:hyper", 1, /v: a bigint is needed/u],
      ["v:uhyper", -1n, /v: -1 is not within/u],
      ["v:string<3>", "éé", /v: a string of 4 bytes exceeds the limit of 3/u],
      ["v:string", "a\0", /NUL/u],
      ["v:string", "\ud800", /lone surrogate/u],
      [
        "v:Inner<2>",
        [
          { n: 1, s: "" },
          { n: 1, s: 5 },
        ],
        /v\[1\]\.s: a string is needed/u,
      ],
      [
        "v:Inner<1>",
        [
          { n: 1, s: "" },
          { n: 1, s: "" },
        ],
        /v: 2 elements exceed the limit of 1/u,
      ],
      ["v:Inner", null, /v: an object is needed, not null/u],
      ["v:opaque[2]", new Uint8Array(3), /v: 3 bytes, not 2 to 2/u],
      ["v:uuid", "x", /v: not a UUID/u],
      ["v:U", { case: 9 }, /v: union has no case 9/u],
      ["v:params<4>", { a: null }, /v\.a: not a parameter value: null/u],
      ["v:params<1>", { a: 1, b: 2 }, /v: 2 elements exceed/u],
    ];
    for (const [source, value, message] of cases)
      assert.throws(
        () => write(only(source), { v: value }),
        (error) => error instanceof CodecError && message.test(error.message),
        source,
      );
  });
});

describe("typed parameters", () => {
  const type = only("v:params<64>");
  const types = (value: unknown): Record<string, number> => {
    const reader = new XdrReader(write(type, { v: value }));
    const found: Record<string, number> = {};
    const widths = [0, 4, 4, 8, 8, 8, 4];
    for (let left = reader.uint(); left > 0; left -= 1) {
      const name = reader.string(80);
      found[name] = reader.int();
      if (found[name] === 7) reader.string(4_194_304);
      else reader.take(widths[found[name] ?? 0] ?? 0);
    }
    return found;
  };

  test("well-known parameters get the type that libvirt demands, whatever the JavaScript type", () => {
    assert.deepEqual(
      types({
        bandwidth: 100,
        cpu_shares: 1024n,
        vcpu_quota: -1,
        weight: 500,
        migrate_uri: "tcp:h",
        "parallel.connections": 2n,
        cmt: true,
      }),
      {
        bandwidth: 4,
        cpu_shares: 4,
        vcpu_quota: 3,
        weight: 2,
        migrate_uri: 7,
        "parallel.connections": 1,
        cmt: 6,
      },
    );
    assert.throws(() => write(type, { v: { weight: -1 } }), /v\.weight: -1 is not within/u);
    assert.throws(() => write(type, { v: { bandwidth: "much" } }), /v\.bandwidth: a bigint is needed/u);
    assert.throws(() => write(type, { v: { migrate_uri: 5 } }), /v\.migrate_uri: a string is needed/u);
  });

  test("others follow their JavaScript type, or typed.*()", () => {
    assert.deepEqual(
      types({
        a: 1,
        b: 2 ** 40,
        c: 1n,
        d: -1n,
        e: 1.5,
        f: false,
        g: "",
        h: typed.uint(1),
        i: typed.llong(1),
        j: typed.double(2),
        k: undefined,
      }),
      {
        a: 1,
        b: 3,
        c: 4,
        d: 3,
        e: 5,
        f: 6,
        g: 7,
        h: 2,
        i: 3,
        j: 5,
      },
    );
  });

  test("a name that occurs several times is an array, both ways", () => {
    const value = { v: { migrate_disks: ["vda", "vdb", "vdc"], migrate_uri: "tcp:h" } };
    assert.deepEqual(read(type, write(type, value)), value);
  });

  test("names are limited and never reach the prototype", () => {
    assert.throws(() => write(type, { v: { ["x".repeat(80)]: 1 } }), /exceeds the limit of 79/u);
    const hostile = write(type, { v: JSON.parse('{"__proto__": "x"}') as unknown });
    assert.throws(() => read(type, hostile), /__proto__/u);
  });
});

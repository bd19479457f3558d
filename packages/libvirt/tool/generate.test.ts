// The committed files under src/generated are what the generator makes of libvirt's sources.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { generate, staleFiles } from "./generate.ts";
import { libvirtSource, SourceUnavailableError } from "./source-package.ts";
import { parseXdr } from "./xdr-parser.ts";
import { evaluateC } from "./c-expression.ts";
import { parseHeader } from "./header-parser.ts";
import { isNewer, parseRemarks, parseSymbols } from "./since-parser.ts";
import { remoteProgram } from "#generated/remote-procedure.ts";
import { remoteSchema } from "#generated/remote-schema.ts";

describe("generator", () => {
  test("generated files are fresh", async (t) => {
    const source = await libvirtSource().catch((error: unknown) => {
      if (error instanceof SourceUnavailableError) return error;
      throw error;
    });
    if (source instanceof SourceUnavailableError) return t.skip(source.message);
    assert.deepEqual(await staleFiles(await generate(source)), []);
  });

  test("every struct of a call or message belongs to a procedure", () => {
    const used = new Set([
      ...Object.values(remoteProgram.procedures).flatMap(([, args, ret]) => [args, ret]),
      ...Object.values(remoteProgram.messages).map(([, struct]) => struct),
    ]);
    const nested = Object.values(remoteSchema).join(" ");
    const orphans = Object.keys(remoteSchema).filter(
      (name) => /(?:Args|Ret|Msg)$/u.test(name) && !used.has(name) && !nested.includes(`:${name}`),
    );
    assert.deepEqual(orphans, []);
    const numbers = [
      ...Object.values(remoteProgram.procedures).map(([number]) => number),
      ...Object.values(remoteProgram.messages).map(([number]) => number),
    ];
    assert.deepEqual(
      numbers.toSorted((a, b) => a - b),
      Array.from({ length: numbers.length }, (_, index) => index + 1),
      "no number is missing or double",
    );
  });

  test("the grammar of RFC 4506 §6.3", () => {
    const source = `
      %#include <x.h>
      const LIMIT = 0x10; /* a comment */
      enum colour { RED, GREEN = 5, BLUE };
      typedef opaque digest[LIMIT];
      typedef string name<LIMIT>;
      typedef node *list;
      struct node { name n; unsigned hyper size; unsigned u; node *next; int many<>; colour c; void; };
      union result switch (colour c) { case RED: case GREEN: int value; case BLUE: void; default: opaque rest<4>; };`;
    const { constants, enums, structs, unions, typedefs } = parseXdr(source, "test.x");
    assert.equal(constants.get("LIMIT"), "0x10");
    assert.deepEqual(
      enums.get("colour")?.map(({ name, value }) => [name, value]),
      [
        ["RED", null],
        ["GREEN", "5"],
        ["BLUE", null],
      ],
    );
    assert.deepEqual(
      structs.get("node")?.map(({ name }) => name),
      ["n", "size", "u", "next", "many", "c", ""],
    );
    assert.deepEqual(structs.get("node")?.[3]?.shape, { kind: "optional" });
    assert.deepEqual(structs.get("node")?.[4]?.shape, { kind: "variable", max: null });
    assert.deepEqual(
      unions.get("result")?.arms.map(({ labels }) => labels),
      [["RED", "GREEN"], ["BLUE"]],
    );
    assert.equal(unions.get("result")?.fallback?.name, "rest");
    assert.deepEqual(typedefs.get("digest")?.shape, { kind: "fixed", size: "LIMIT" });
    assert.throws(() => parseXdr("struct a { int b }", "bad.x"), /bad\.x:1: expected ";"/u);
    assert.throws(() => parseXdr("\n\nconst A = @;", "bad.x"), /bad\.x:3: unexpected character/u);
  });

  test("constants of C headers", () => {
    const known = new Map<string, bigint | string>();
    const header = `
      # define VIR_A (1U << 31) /* bit */
      #define VIR_B "text"
      #define VIR_C VIR_B
      #define VIR_MACRO(x) (x)
      typedef enum {
        VIR_ONE = 1, /* (Since: 1) */
        VIR_TWO,
        VIR_BOTH = VIR_ONE | VIR_TWO,
      # ifdef VIR_ENUM_SENTINELS
        VIR_LAST
      # endif
      } virThing;`;
    const found = parseHeader(header, known).map(({ name, value, group }) => [name, value, group]);
    assert.deepEqual(found, [
      ["VIR_A", 2_147_483_648n, null],
      ["VIR_B", "text", null],
      ["VIR_C", "text", null],
      ["VIR_ONE", 1n, "virThing"],
      ["VIR_TWO", 2n, "virThing"],
      ["VIR_BOTH", 3n, "virThing"],
    ]);
    assert.equal(
      evaluateC("~0 & (0x10 + 2 * 3)", () => undefined),
      22n,
    );
    assert.equal(
      evaluateC("sizeof(int)", () => undefined),
      undefined,
    );
  });

  test("releases of symbols and constants", () => {
    const symbols = parseSymbols(`LIBVIRT_7.0.0 {\n    global:\n        virOne;\n};
LIBVIRT_7.10.0 {\n    global:\n        virTwo;\n        virThree;\n} LIBVIRT_7.0.0;
LIBVIRT_QEMU_8.2.0 {\n    global:\n        virDomainQemuFour;\n} LIBVIRT_QEMU_1.2.3;\n`);
    const named = ["virTwo", "virThree", "virDomainQemuFour"].map((name) => symbols.get(name));
    assert.deepEqual(named, ["7.10.0", "7.10.0", "8.2.0"]);
    const remarks = new Map<string, string>();
    parseRemarks(
      `
      typedef enum {
        VIR_FIRST = 1, /* the first (Since: 1.2.3) */
        VIR_SECOND = (1 << 2), /* has a remark
                                  of two lines (Since: 8.9.0) */
        /* Before it.
         *
         * Since: 7.10.0
         */
        VIR_THIRD = 4,
        VIR_NONE = 5,
      } virThing;
      /**
       * VIR_TEXT:
       *
       * Since: 9.0.0
       */
      # define VIR_TEXT "text"`,
      remarks,
    );
    assert.deepEqual(Object.fromEntries(remarks), {
      VIR_FIRST: "1.2.3",
      VIR_SECOND: "8.9.0",
      VIR_THIRD: "7.10.0",
      VIR_TEXT: "9.0.0",
    });
    assert.deepEqual(
      [isNewer("7.10.0", "7.9.0"), isNewer("7.0.0", "7.0.0"), isNewer("6.9", "7.0.0")],
      [true, false, false],
    );
  });
});

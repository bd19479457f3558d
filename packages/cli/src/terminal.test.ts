/** Questions on a terminal: what is typed, what is shown, and that the terminal is put back. */
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { suite, test } from "node:test";
import { ask, askSecret, type Terminal } from "#terminal.ts";

interface Typed {
  readonly terminal: Terminal;
  readonly shown: () => string;
  readonly raw: boolean[];
  type(text: string): void;
}

function typed(): Typed {
  const raw: boolean[] = [];
  const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (mode: boolean) => raw.push(mode) });
  const errors = new PassThrough();
  let shown = "";
  errors.on("data", (chunk: Buffer) => {
    shown += chunk.toString();
  });
  const terminal: Terminal = {
    input,
    output: new PassThrough(),
    errors,
    outputIsTerminal: true,
    errorsIsTerminal: true,
    inputIsTerminal: true,
    width: () => 80,
  };
  return { terminal, shown: () => shown, raw, type: (text) => void input.write(text) };
}

suite("a secret", () => {
  test("is read to the end of its line, edited as usual, and never shown", async () => {
    const { terminal, shown, raw, type } = typed();
    const asked = askSecret(terminal, "Password: ");
    type("wrong");
    type("\u0015pa");
    type("x\u007fss密");
    type("码\r");
    assert.equal(await asked, "pass密码");
    assert.equal(shown(), "Password: \n");
    assert.deepEqual(raw, [true, false]);
  });

  test("is given up with Ctrl-C, Ctrl-D, or the end of input", async () => {
    for (const key of ["\u0003", "\u0004"]) {
      const { terminal, type } = typed();
      const asked = askSecret(terminal, "");
      type(`abc${key}`);
      assert.equal(await asked, undefined);
    }
    const { terminal } = typed();
    const asked = askSecret(terminal, "");
    (terminal.input as PassThrough).end();
    assert.equal(await asked, undefined);
  });

  test("can follow another question", async () => {
    const { terminal, type } = typed();
    const name = ask(terminal, "User: ", AbortSignal.timeout(5000));
    type("admin\r");
    assert.equal(await name, "admin");
    const secret = askSecret(terminal, "Password: ");
    type("secret\r");
    assert.equal(await secret, "secret");
  });
});

test("a question is given up when its time is over", async () => {
  const { terminal } = typed();
  await assert.rejects(ask(terminal, "? ", AbortSignal.timeout(10)));
});

/**
 * Run by crash.test.ts: an engine on the store in the folder of argv[2] runs the operation of argv[3] once and prints how
 * its task ended. Argv[4], `<step>/<phase>`, is where it is killed. What the operations make are files in `world`.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Type } from "typebox";
import { silentLogger } from "#core/log.ts";
import { openSecretBox } from "#core/secret-box.ts";
import { systemClock } from "#core/system-clock.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { ClaimTable } from "#management/task/claim-table.ts";
import { hasEnded, TaskEngine } from "#management/task/engine.ts";
import { type Operation, operation, type Step } from "#management/task/operation.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

const [, , folder = "", operationName = "", crashAt = ""] = process.argv;
const world = path.join(folder, "world");
mkdirSync(world, { recursive: true });

/** A name that is chosen once and must survive: a second choice would leave the first one's files behind. */
const choose: Step<unknown> = { name: "choose", do: async () => ({ id: `${process.pid}-${performance.now()}` }) };

function make(name: string): Step<unknown> {
  const file = (context: { result<T>(step: string): T }): string =>
    path.join(world, `${name}-${context.result<{ id: string }>("choose").id}`);
  return {
    name,
    do: async (context) => writeFileSync(file(context), "made"),
    undo: async (context) => rmSync(file(context), { force: true }),
  };
}

const fail: Step<unknown> = { name: "fail", do: () => Promise.reject(new Error("planned")) };
const commit: Step<unknown> = { ...make("commit"), pointOfNoReturn: true };

function sample(name: string, steps: readonly Step<unknown>[]): Operation {
  return operation({
    name,
    input: Type.Unknown(),
    claims: () => ({ exclusive: ["one"] }),
    target: () => undefined,
    steps,
  });
}

export const samples: readonly Operation[] = [
  sample("sample.good", [choose, make("a"), make("b"), make("c")]),
  sample("sample.bad", [choose, make("a"), make("b"), fail]),
  sample("sample.commit", [choose, make("a"), commit, make("b")]),
];

if (import.meta.main) {
  await using store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
  using inventory = await Inventory.open(store);
  const engine = new TaskEngine({
    store,
    inventory,
    secretBox: await openSecretBox(path.join(folder, "secret.key")),
    clock: systemClock,
    log: silentLogger,
    operations: samples,
    claims: new ClaimTable(),
    onStepBoundary: ({ step, phase }) => {
      if (`${step}/${phase}` === crashAt) process.kill(process.pid, "SIGKILL");
    },
  });
  await engine.resume();
  const [present] = inventory.list("task");
  const task = present ?? (await engine.submit(operationName, {}, { userName: "test" }));
  const ended = await engine.wait(task.id, 20_000);
  if (!hasEnded(ended)) throw new Error(`it is ${ended.state}`);
  await engine.stop();
  const made = readdirSync(world).map((file) => file.split("-", 1)[0]);
  process.stdout.write(
    JSON.stringify({ state: ended.state, made: made.toSorted(), tasks: inventory.list("task").length }),
  );
}

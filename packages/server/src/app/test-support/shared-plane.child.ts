/**
 * Run by tests of several control planes on one store: a whole one, whose `host.refresh` is a task of steps that say in a
 * file when they begin and end, and by which process. What it serves is as `inn up` does it.
 */
import { appendFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Type } from "typebox";
import { silentLogger } from "#core/log.ts";
import { pinoLogger } from "#core/pino-logger.ts";
import { operation, type Operation } from "#management/task/operation.ts";
import { startServer } from "../server.ts";
import { wire } from "../wire.ts";
import { testConfig } from "./test-config.ts";

const [stateFolder = "", url = "", takeoverMs = "1000", trail = "", stepMs = "20"] = process.argv.slice(2);

function note(fields: object): void {
  appendFileSync(trail, `${JSON.stringify({ ...fields, pid: process.pid })}\n`);
}

function noted(): Operation {
  return operation({
    name: "host.refresh",
    input: Type.Object({ hostId: Type.String() }),
    claims: ({ hostId }) => ({ exclusive: [`test:${hostId}`] }),
    target: () => undefined,
    steps: ["first", "second", "third"].map((name) => ({
      name,
      async do({ taskId, repeated, signal }) {
        note({ taskId, step: name, what: "begin", repeated });
        await delay(Number(stepMs), undefined, { signal });
        note({ taskId, step: name, what: "end" });
      },
    })),
  });
}

const server = await startServer(
  testConfig(stateFolder, {
    store: { url },
    takeoverMs: Number(takeoverMs),
    adminPassword: "correct horse battery staple",
  }),
  {
    // Their losses are what is tested: who looks for a fault wants them told.
    log: process.env["INN_TEST_LOG"] === undefined ? silentLogger : pinoLogger("info"),
    wire: (base) => {
      const real = wire(base);
      const others = real.operations.filter(({ name }) => name !== "host.refresh");
      return { ...real, operations: [...others, noted()] };
    },
  },
);
process.once("SIGTERM", () => void server.close().then(() => process.exit(0)));
process.stdout.write(`up ${server.url}\n`);

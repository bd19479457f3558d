/**
 * The control plane as a program: reads its flags, starts, and stops cleanly on SIGTERM and SIGINT; a second signal, or
 * a stop that takes too long, ends it at once, which is safe at any instant. `inn up` runs this.
 */
import { firstAdministrator } from "#management/access/user-service.ts";
import { AppError } from "#core/app-error.ts";
import { pinoLogger } from "#core/pino-logger.ts";
import { errorCode } from "@innkeeper/contract/error-code.ts";
import { ConfigError, readConfig, type ServerConfig, usage } from "./config.ts";
import { type RunningServer, startServer } from "./server.ts";

/** Longer than the engine gives its steps; systemd's TimeoutStopSec is longer still. */
const stopTimeoutMs = 20_000;
const exitUsage = 64; // EX_USAGE, sysexits.h

/** Runs until a signal; the exit code. */
export async function runServer(argv: readonly string[]): Promise<number> {
  try {
    const config = readConfig(argv);
    if (config !== "help") return await run(config);
    process.stdout.write(`${usage}\n`);
    return 0;
  } catch (error) {
    if (error instanceof ConfigError) {
      process.stderr.write(`inn up: ${error.message}\n`);
      return exitUsage;
    }
    if (!(error instanceof AppError)) throw error;
    process.stderr.write(`inn up: ${error.message}\n${error.remedy ?? errorCode[error.code].remedy}\n`);
    return errorCode[error.code].exitCode;
  }
}

async function run(config: ServerConfig): Promise<number> {
  const signalled = Promise.withResolvers<NodeJS.Signals>();
  const onSignal = (signal: NodeJS.Signals): void => {
    signalled.resolve(signal);
    process.once("SIGTERM", () => process.exit(1));
    process.once("SIGINT", () => process.exit(1));
  };
  process.once("SIGTERM", onSignal);
  process.once("SIGINT", onSignal);
  const log = pinoLogger(config.logLevel);
  // A fault in one corner must not cut all consoles and transfers: it is logged, and the rest goes on.
  process.on("unhandledRejection", (error) => log.error({ err: error }, "a failure that nothing handled: a bug"));
  process.on("uncaughtException", (error) => {
    log.error({ err: error }, "an exception that nothing handled: a bug; ending, which is safe at any instant");
    process.exit(errorCode.internal.exitCode);
  });
  const server = await startServer(config, { log });
  // As daemons have it; whoever started it in a terminal that closes wants its end.
  process.on("SIGHUP", () => void (process.stdout.isTTY ? signalled.resolve("SIGHUP") : server.reload()));
  printStart(server);
  await signalled.promise;
  setTimeout(() => process.exit(1), stopTimeoutMs).unref();
  await server.close();
  return 0;
}

/** In one write: who reads it has all of it. */
function printStart({ url, firstPassword, fingerprint }: RunningServer): void {
  const lines = [`Innkeeper is up: ${url}`];
  if (fingerprint !== undefined) lines.push(`Certificate (SHA-256): ${fingerprint}`);
  if (firstPassword !== undefined) {
    lines.push(
      `First administrator: ${firstAdministrator}`,
      `Password (shown this once): ${firstPassword}`,
      `Log in: inn login ${url} --user ${firstAdministrator}`,
    );
  }
  process.stdout.write(`${lines.join("\n")}\n`);
}

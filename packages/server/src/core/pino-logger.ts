/** The log: JSON lines on standard error, through pino. Fields that could hold secrets are cut out. */
import { destination, pino } from "pino";
import type { Logger } from "#core/log.ts";

const secretFields = ["password", "secret", "token", "authorization", "clientKey", "privateKey"];

export function pinoLogger(level: "debug" | "info" | "warn" | "error"): Logger {
  const paths = secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);
  // Written at once: a line that explains a crash must not be lost with it.
  return pino({ level, redact: { paths, censor: "…" }, base: null }, destination({ fd: 2, sync: true }));
}

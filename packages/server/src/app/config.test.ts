/** Flags and environment: defaults, precedence, and refusals that name the flag. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { ConfigError, readConfig, type TlsConfig } from "./config.ts";

function tlsOf(argv: string[], variables = {}): TlsConfig | undefined {
  const read = readConfig(argv, variables);
  return read === "help" ? undefined : read.tls;
}

test("defaults, flags before environment", () => {
  assert.deepEqual(readConfig([], {}), {
    stateFolder: "/var/lib/innkeeper",
    listenAddress: "127.0.0.1",
    listenPort: 7480,
    tls: { kind: "built-in", names: [] },
    logLevel: "info",
    allowPlainTcp: false,
    resetAdmin: false,
    backup: { folder: "/var/lib/innkeeper/backup", keep: 7 },
  });
  const environment = { INN_STATE: "/s", INN_LISTEN: "[::1]:1234", INN_LOCAL: "1", INN_LOG_LEVEL: "warn" };
  const config = readConfig(["--state", "/t", "--listen", "localhost:0"], environment);
  assert.ok(config !== "help");
  assert.deepEqual(
    [config.stateFolder, config.listenAddress, config.listenPort, config.local, config.logLevel],
    ["/t", "127.0.0.1", 0, true, "warn"],
  );
  assert.deepEqual(tlsOf(["--no-tls"]), { kind: "off" });
  assert.deepEqual(tlsOf([], { INN_TLS: "0" }), { kind: "off" });
  assert.deepEqual(tlsOf(["--listen", "0.0.0.0:1", "--tls-name", "a.example, 192.0.2.1"]), {
    kind: "built-in",
    names: ["a.example", "192.0.2.1"],
  });
  assert.deepEqual(tlsOf([], { INN_TLS_CERT: "/c", INN_TLS_KEY: "/k" }), { kind: "files", cert: "/c", key: "/k" });
  const behind = readConfig(["--no-tls", "--trust-proxy"], {});
  assert.equal(behind !== "help" && behind.trustProxy, true);
  const withoutLocal = readConfig(["--no-local"], { INN_LOCAL: "1" });
  assert.ok(withoutLocal !== "help");
  assert.equal(withoutLocal.local, false);
  assert.equal(readConfig(["--help"], {}), "help");
});

test("what can't be used is refused by the flag's name", (context) => {
  const folder = mkdtempSync(path.join(tmpdir(), "inn-config-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const short = path.join(folder, "short");
  writeFileSync(short, "1234567\n");
  const cases: [string[], RegExp][] = [
    [["--nonsense"], /--nonsense/],
    [["stray"], /stray/],
    [["--listen", "7480"], /--listen 7480/],
    [["--listen", "example.org:1"], /--listen/],
    [["--listen", "127.0.0.1:70000"], /--listen/],
    [["--listen", "0.0.0.0:7480", "--no-tls"], /in the clear; only loopback/],
    [["--tls-cert", "/nowhere"], /belong together/],
    [["--tls-cert", "/nowhere", "--tls-key", "/nowhere", "--tls-name", "x"], /--tls-name is for the built-in/],
    [["--no-tls", "--tls-cert", "/nowhere", "--tls-key", "/nowhere"], /--no-tls goes without/],
    [["--tls-name", "inn.example.org,not a name"], /--tls-name not a name/],
    [["--log-level", "loud"], /--log-level loud/],
    [["--admin-password-file", "/nowhere"], /--admin-password-file/],
    [["--admin-password-file", short], /8 to 256 characters/],
  ];
  for (const [argv, message] of cases) {
    assert.throws(
      () => readConfig(argv, {}),
      (error: unknown) => error instanceof ConfigError && message.test(error.message),
      argv.join(" "),
    );
  }
  writeFileSync(short, "long enough\n");
  const config = readConfig(["--admin-password-file", short], {});
  assert.equal(config !== "help" && config.adminPassword, "long enough");
});

/** Which server is meant, and the file that remembers servers. */
import assert from "node:assert/strict";
import { mkdtempDisposableSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";
import { CliError } from "#cli-error.ts";
import {
  changeConfig,
  chooseServer,
  type Config,
  configFile,
  defaultServerUrl,
  readConfig,
  serverUrl,
  withoutServer,
  withServer,
} from "#config.ts";

const config: Config = {
  current: "main",
  servers: {
    main: { url: "https://inn.example.org", token: "t1", user: "lin" },
    lab: { url: "https://10.0.0.1:7480", token: "t2" },
  },
};

function chosen(named: string | undefined, environment: Record<string, string> = {}): unknown[] {
  const { name, connection } = chooseServer(config, named, environment);
  return [name, connection.server.href, connection.token];
}

suite("the server that is meant", () => {
  test("an option wins over the environment, which wins over the file", () => {
    assert.deepEqual(chosen(undefined), ["main", "https://inn.example.org/", "t1"]);
    assert.deepEqual(chosen(undefined, { INN_SERVER: "lab" }), ["lab", "https://10.0.0.1:7480/", "t2"]);
    assert.deepEqual(chosen("main", { INN_SERVER: "lab" }), ["main", "https://inn.example.org/", "t1"]);
    assert.deepEqual(chosen(undefined, { INN_SERVER: "", INN_TOKEN: "x" }), ["main", "https://inn.example.org/", "x"]);
  });

  test("a saved server is known by its URL too; another one gets no token", () => {
    assert.deepEqual(chosen("https://10.0.0.1:7480"), ["lab", "https://10.0.0.1:7480/", "t2"]);
    assert.deepEqual(chosen("https://10.0.0.2:7480"), [undefined, "https://10.0.0.2:7480/", undefined]);
    assert.equal(chooseServer({ servers: {} }, undefined, {}).connection.server.href, `${defaultServerUrl}/`);
  });

  test("a scheme may be left out", () => {
    assert.equal(serverUrl("inn.example.org").href, "https://inn.example.org/");
    assert.equal(serverUrl("127.0.0.1:7480").href, "https://127.0.0.1:7480/");
    assert.equal(serverUrl("http://localhost:80").href, "http://localhost/");
    assert.equal(serverUrl("https://x/inn/?a#b").href, "https://x/inn/");
    assert.throws(() => serverUrl("no server"), /neither a saved name nor a URL/);
    for (const far of ["http://inn.example.org", "http://10.0.0.1:7480", "http://127.0.0.1.example.org"]) {
      assert.throws(() => serverUrl(far), /in the clear/, far);
    }
  });
});

suite("the file", () => {
  test("is for its owner alone, replaced in one step, and gone when nothing is left", () => {
    using folder = mkdtempDisposableSync(path.join(tmpdir(), "inn-config-"));
    const file = configFile({ XDG_CONFIG_HOME: folder.path });
    assert.equal(file, path.join(folder.path, "innkeeper/config.json"));
    assert.deepEqual(readConfig(file), { servers: {} });
    changeConfig(file, (before) => withServer(before, "a", { url: "https://a", token: "t" }, true));
    changeConfig(file, (before) => withServer(before, "b", { url: "https://b" }, false));
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(readConfig(file), {
      current: "a",
      servers: { a: { url: "https://a", token: "t" }, b: { url: "https://b" } },
    });
    changeConfig(file, (before) => withoutServer(before, "a"));
    assert.deepEqual(readConfig(file), { servers: { b: { url: "https://b" } } });
    changeConfig(file, (before) => withoutServer(before, "b"));
    assert.throws(() => readFileSync(file), /ENOENT/);
  });

  test("that is damaged is named, not overwritten", () => {
    using folder = mkdtempDisposableSync(path.join(tmpdir(), "inn-config-"));
    const file = path.join(folder.path, "config.json");
    writeFileSync(file, "{");
    assert.throws(
      () => changeConfig(file, (before) => before),
      (error) => error instanceof CliError && error.detail.exitCode === 78,
    );
    assert.equal(readFileSync(file, "utf8"), "{");
  });
});

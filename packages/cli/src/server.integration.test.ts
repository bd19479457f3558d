/** The command line against a whole control plane: login, users, lists, formats, errors, watching, completion. */
import assert from "node:assert/strict";
import { mkdtempDisposable, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, suite, test } from "node:test";
import { type TestServer, startTestServer } from "@innkeeper/server/app/test-support/test-server.ts";
import type { User } from "@innkeeper/contract/resource/user.ts";
import { parse } from "yaml";
import { type Captured, captured, type CapturedOptions } from "#test-support/captured.ts";

suite("against a control plane", () => {
  let server: TestServer;
  let folder: AsyncDisposable & { readonly path: string };
  before(async () => {
    server = await startTestServer();
    folder = await mkdtempDisposable(path.join(tmpdir(), "inn-cli-"));
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  /** As the administrator. */
  async function inn(words: string, options: CapturedOptions = {}): Promise<Captured> {
    const environment = { INN_SERVER: server.url, INN_TOKEN: server.token, XDG_CONFIG_HOME: folder.path };
    return await captured(words.split(" "), { ...options, environment: { ...environment, ...options.environment } });
  }

  async function output(words: string, options?: CapturedOptions): Promise<string> {
    const result = await inn(words, options);
    assert.equal(result.exitCode, 0, result.errors);
    return result.output;
  }

  /** Candidates for the last word, without their descriptions. */
  async function complete(...words: string[]): Promise<string[]> {
    const environment = { INN_SERVER: server.url, INN_TOKEN: server.token };
    const { output: lines } = await captured(["__complete", "--", ...words], { environment });
    return lines
      .trimEnd()
      .split("\n")
      .map((line) => line.split("\t")[0] ?? "");
  }

  test("a user is made, logs in with a password of a file, is remembered, logs out", async () => {
    const passwordFile = path.join(folder.path, "password");
    await writeFile(passwordFile, "a long enough secret\n");
    await output(`user create lin --role operator --full-name 林 --password-file ${passwordFile}`);
    const environment = { INN_SERVER: "", INN_TOKEN: "" };
    const login = `login ${server.url} --user lin --password-file ${passwordFile} --as here`;
    assert.match(await output(login, { environment }), /as lin \(operator\), remembered as here/);
    assert.match(await output("whoami", { environment }), /user\s+lin \(林\)/);
    const file = path.join(folder.path, "innkeeper/config.json");
    assert.ok(!(await readFile(file, "utf8")).includes("a long enough secret"));
    assert.match((await inn("--server here logout", { environment })).errors, /logged out of here/);
    const after = await inn("whoami", { environment: { ...environment, INN_SERVER: server.url } });
    assert.equal(after.exitCode, 77);
    assert.match(after.errors, /inn login/);
  });

  test("a wrong password, a missing terminal, a token that is none", async () => {
    const environment = { INN_TOKEN: "" };
    const wrong = await inn(`login ${server.url} --user admin`, {
      environment: { ...environment, INN_PASSWORD: "wrong-password" },
    });
    assert.equal(wrong.exitCode, 77);
    assert.match(wrong.errors, /^error: .*\n {2}what to do: /);
    const silent = await inn(`login ${server.url} --user admin`, { environment });
    assert.equal(silent.exitCode, 64);
    assert.match(silent.errors, /--password-file or in INN_PASSWORD/);
    assert.equal((await inn("vm list", { environment: { INN_TOKEN: "inns_nonsense" } })).exitCode, 77);
  });

  test("a token is shown once and works alone", async () => {
    const secret = (await output("user token create ci --days 30")).trim();
    assert.equal((await inn("vm list", { environment: { INN_TOKEN: secret } })).exitCode, 0);
    assert.match(await output("user token list"), /^ID\s+NAME\s+AGE/);
    assert.equal((await inn("user token delete ci")).exitCode, 0);
    assert.equal((await inn("vm list", { environment: { INN_TOKEN: secret } })).exitCode, 77);
  });

  test("every form of a list says the same", async () => {
    const users = JSON.parse(await output("user list -o json")) as User[];
    assert.deepEqual(parse(await output("user list -o yaml")), users);
    assert.deepEqual(
      (await output("user list -o name")).trim().split("\n"),
      users.map(({ name }) => name),
    );
    const table = (await output("user list")).trimEnd().split("\n");
    assert.equal(table.length, users.length + 1);
    assert.deepEqual((await output("user list --columns id,name")).split("\n")[0]?.split(/\s+/), ["ID", "NAME"]);
    assert.deepEqual(
      JSON.parse(await output("user list -o json --filter name=admin --limit 1")),
      users.filter(({ name }) => name === "admin"),
    );
    const narrow = await output("user list", { columns: 60 });
    assert.ok(
      narrow.split("\n").every((line) => line.length <= 60),
      narrow,
    );
  });

  test("lists of every noun are there, empty", async () => {
    for (const noun of ["host", "vm", "snapshot", "pool", "volume", "image", "network"]) {
      assert.equal(await output(`${noun} list -o json`), "[]\n", noun);
    }
    assert.match(await output("event list"), /^TIME/);
    assert.match(await output("task list"), /^ID/);
  });

  test("what is wrong is said with the code of the table", async () => {
    for (const [words, exitCode, said] of [
      ["vm show nosuch", 66, /there is no VM "nosuch"/],
      ["vm list --filter nofield=1", 65, /nofield/],
      ["vm list --limit 0", 64, /above 0/],
      ["vm list --columns nope", 64, /There is name, state/],
      ["vm lst", 64, /unknown command 'lst'/],
      ["vm create x --memory 64M --disk size=big", 65, /"big" is no size/],
      ["vm create x --memory 64M --host nosuch", 66, /there is no host "nosuch"/],
      ["vm create x", 64, /needs memory/],
      ["vm console x", 64, /needs a terminal/],
      ["host add nonsense://x", 65, /uri/],
      ["user set admin --role king", 65, /"king" is no role/],
      ["user delete admin", 64, /--yes/],
      ["task show task-000000000000", 66, /task/],
      ["image upload /nonexistent --pool p", 65, /can't be read/],
      ["pool set p", 66, /there is no storage pool "p"/],
    ] as const) {
      const result = await inn(words);
      assert.equal(result.exitCode, exitCode, `${words}: ${result.errors}`);
      assert.match(result.errors, said, words);
      assert.equal(result.output, "", words);
    }
  });

  test("errors are documents for programs", async () => {
    const { errors, exitCode } = await inn("vm show nosuch -o json");
    const document = JSON.parse(errors) as { error: { code: string; exitCode: number } };
    assert.deepEqual([document.error.code, document.error.exitCode, exitCode], ["not_found", 66, 66]);
  });

  test("a failed task is an error with its reason, and --no-wait prints its id", async () => {
    const failed = await inn("host add qemu+tls://127.0.0.1:1/system --name gone");
    assert.equal(failed.exitCode, 69, failed.errors);
    assert.match(failed.errors, /error: Can't connect to qemu\+tls:\/\/127\.0\.0\.1:1/);
    const taskId = (await output("host add qemu+tls://127.0.0.1:1/system --name gone --no-wait")).trim();
    assert.match(taskId, /^task-[0-9a-z]{12}$/);
    const ended = await inn(`task show ${taskId} --watch`);
    assert.match(ended.output, /state\s+failed/);
    assert.match(ended.output, /what to do/);
  });

  test("a watched list shows what changes, until it is ended", async () => {
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = inn("user list --watch -o json", {
      signal: stop.signal,
      onOutput: (all) => {
        seen.splice(0, seen.length, ...all.trim().split("\n"));
        if (all.includes('"name":"admin"') && !all.includes('"name":"watched"')) start();
        if (all.includes('"deleted":true')) stop.abort();
      },
    });
    let started = false;
    function start(): void {
      if (started) return;
      started = true;
      void (async () => {
        await output("user create watched --role read-only", { environment: { INN_PASSWORD: "a long enough secret" } });
        await output("user delete watched --yes");
      })();
    }
    assert.equal((await watching).exitCode, 0);
    assert.ok(seen.some((line) => line.includes('"name":"watched"')));
  });

  test("a watched list goes on when the server's log no longer reaches back to it", async () => {
    await using own = await startTestServer();
    const stop = new AbortController();
    let isBegun = false;
    const watching = captured("user list --watch -o json".split(" "), {
      signal: stop.signal,
      environment: { INN_SERVER: own.url, INN_TOKEN: own.token, XDG_CONFIG_HOME: folder.path },
      onOutput: (all) => {
        if (!isBegun) {
          isBegun = true;
          const user = { name: "meanwhile", password: "a long enough secret", role: "operator" };
          void own.restart(leaveBehind).then(() => own.admin("POST", "/users", user));
        }
        if (all.includes('"name":"meanwhile"')) stop.abort();
      },
    });
    const { exitCode, errors } = await watching;
    assert.equal(exitCode, 0, errors);
    assert.ok(stop.signal.aborted);
  });

  test("completion knows verbs, options, and names of the server", async () => {
    assert.deepEqual(await complete("sna"), ["snapshot"]);
    assert.deepEqual(await complete("vm", "mig"), ["migrate"]);
    assert.deepEqual(await complete("vm", "create", "web", "--mem"), [
      "--memory",
      "--memory-reserve",
      "--memory-limit",
      "--memory-shares",
    ]);
    assert.deepEqual(await complete("vm", "list", "-o", "j"), ["json"]);
    assert.deepEqual(await complete("user", "show", "ad"), ["admin"]);
    assert.deepEqual(await complete("completion", "f"), ["fish"]);
    assert.deepEqual(await complete("vm", "show", "x", "y", ""), [""]);
  });

  test("help names every option, with examples", async () => {
    const { output: help, exitCode } = await inn("vm create --help");
    assert.equal(exitCode, 0);
    for (const word of ["--vcpus", "--disk", "--uefi", "Examples:", "size=20G", "--server"])
      assert.ok(help.includes(word), word);
  });
});

/** As if more had been changed than the log keeps. */
async function leaveBehind(stateFolder: string): Promise<void> {
  const database = new DatabaseSync(path.join(stateFolder, "store.sqlite"));
  database.exec("delete from change; update counter set value = value + 9 where name = 'revision'");
  database.close();
}

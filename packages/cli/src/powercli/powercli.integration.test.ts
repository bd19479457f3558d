/** PowerCLI's cmdlets against a whole control plane without hosts: session, errors as text and as documents, completion, pipes. */
import assert from "node:assert/strict";
import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { type TestServer, startTestServer } from "@innkeeper/server/app/test-support/test-server.ts";
import { type Captured, captured, type CapturedOptions } from "#test-support/captured.ts";

suite("PowerCLI's cmdlets against a control plane", () => {
  let server: TestServer;
  let folder: AsyncDisposable & { readonly path: string };
  before(async () => {
    server = await startTestServer();
    folder = await mkdtempDisposable(path.join(tmpdir(), "inn-powercli-"));
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  /** As the administrator. */
  async function inn(words: readonly string[], options: CapturedOptions = {}): Promise<Captured> {
    const environment = { INN_SERVER: server.url, INN_TOKEN: server.token, XDG_CONFIG_HOME: folder.path };
    return await captured(words, { ...options, environment: { ...environment, ...options.environment } });
  }

  async function complete(...words: string[]): Promise<string[]> {
    const { output } = await inn(["__complete", "--", ...words]);
    return output
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.split("\t")[0] ?? "");
  }

  test("Connect-VIServer logs in and is remembered, Disconnect-VIServer forgets", async () => {
    const environment = { INN_SERVER: "", INN_TOKEN: "", INN_PASSWORD: "" };
    const user = "powercli";
    const password = "a long enough secret";
    await inn(["user", "create", user, "--role", "operator"], { environment: { INN_PASSWORD: password } });
    const url = new URL(server.url);
    const wrong = await inn(["Connect-VIServer", server.url, "-User", user, "-Password", "wrong-password"], {
      environment,
    });
    assert.equal(wrong.exitCode, 77);
    const words = [
      "connect-viserver",
      "-Server",
      url.hostname,
      "-Port",
      url.port,
      "-Protocol",
      url.protocol.slice(0, -1),
    ];
    const connected = await inn([...words, "-User", user, "-Password", password], { environment, columns: 80 });
    assert.equal(connected.exitCode, 0, connected.errors);
    assert.match(connected.errors, /^WARNING: every user of this machine could see the password/);
    assert.match(
      connected.output,
      new RegExp(`^Name +Port +User\\n-+ +-+ +-+\\n127\\.0\\.0\\.1 +${url.port} +powercli\\n$`),
    );
    const file = path.join(folder.path, "innkeeper/config.json");
    assert.ok(!(await readFile(file, "utf8")).includes(password));
    assert.equal((await inn(["Get-VM"], { environment })).exitCode, 0);
    assert.equal((await inn(["Disconnect-VIServer"], { environment })).exitCode, 64);
    const kept = await inn(["Disconnect-VIServer"], { environment, input: "", keyboard: "n\n" });
    assert.deepEqual([kept.exitCode, kept.errors.match(/\[Y\] Yes/g)?.length], [0, 1], kept.errors);
    assert.equal((await inn(["Get-VM"], { environment })).exitCode, 0);
    const gone = await inn(["Disconnect-VIServer", "-Server", "*", "-Confirm:$false"], { environment });
    assert.equal(gone.exitCode, 0, gone.errors);
    assert.match(gone.errors, /logged out of/);
  });

  test("without a login, without the right", async () => {
    assert.equal((await inn(["Get-VM"], { environment: { INN_TOKEN: "inns_nonsense" } })).exitCode, 77);
    const reader = await server.login("read-only");
    const environment = { INN_TOKEN: reader };
    assert.equal((await inn(["Get-VM"], { environment })).exitCode, 0);
    const denied = await inn(["New-VM", "-Name", "x"], { environment });
    assert.equal(denied.exitCode, 77, denied.errors);
  });

  test("lists of nothing, in every form", async () => {
    for (const cmdlet of ["Get-VM", "get-vmhost", "GET-DATASTORE", "Get-Template"]) {
      assert.deepEqual(await inn([cmdlet]), { exitCode: 0, output: "", errors: "" });
      assert.equal((await inn([cmdlet, "-o", "json"])).output, "[]\n");
      assert.equal((await inn(["-o", "yaml", cmdlet])).output, "[]\n");
      assert.equal((await inn([cmdlet], { columns: 80 })).output, "");
    }
    const events = await inn(["Get-VIEvent", "-MaxSamples", "1", "-Start", "2020-01-01"]);
    assert.equal(events.output.trim().split("\n").length, 1);
    assert.equal((await inn(["Get-VIEvent", "-Finish", "2020-01-01"])).output, "");
  });

  test("errors name the parameter, and are documents with -o json", async () => {
    for (const [words, exitCode, said] of [
      [["Get-VM", "nosuch"], 66, /there is no VM "nosuch"\n {2}field: +-Name/],
      [["Start-VM", "-VM", "nosuch"], 66, /field: +-VM/],
      [["Start-VM", "web*"], 66, /there is no VM "web\*"/],
      [["Get-VM", "-Location", "Cluster1"], 66, /no resource pools and datacenters/],
      [["New-VM", "-Name", "x", "-ResourcePool", "Cluster1"], 66, /field: +-ResourcePool/],
      [["Move-VMHost", "x", "Cluster1"], 66, /no cluster "Cluster1"\n {2}field: +-Destination/],
      [["Get-VMHost", "-Location", "Cluster1"], 66, /field: +-Location/],
      [["New-VM", "-Name", "x", "-Datastore", "nosuch"], 66, /there is no datastore "nosuch"\n {2}field: +-Datastore/],
      [["New-VM", "-Name", "x", "-MemoryGB", "1", "-MemoryMB", "1"], 64, /exclude one another/],
      [["New-VM", "-Name", "x", "-NumCpu", "3", "-CoresPerSocket", "2"], 65, /field: +-CoresPerSocket/],
      [
        ["New-VM", "-Name", "x", "-ContentLibraryItem", "i", "-DiskStorageFormat", "Thick"],
        65,
        /field: +-DiskStorageFormat/,
      ],
      [["New-VM", "-Name", "x", "-StoragePolicy", "gold"], 64, /does not have -StoragePolicy/],
      [["New-VM", "-Name", "x", "-LinkedClone"], 64, /-LinkedClone is for a clone/],
      [["New-VM"], 64, /needs -Name/],
      [["Set-VMHost", "x", "Sleeping"], 65, /"Sleeping" is none of Connected, Disconnected, Maintenance/],
      [["Set-VMHost", "x", "Disconnected"], 69, /inn host remove/],
      [["Remove-Snapshot", "before"], 64, /whose snapshot/],
      [["Set-HardDisk", "web", "-CapacityGB", "1"], 64, /of which VM/],
      [["Get-Task", "-Id", "x"], 64, /no id of a task/],
      [["Wait-Task", "task-000000000000"], 66, /task/],
      [["Get-Stat", "x", "-Start", "2026-01-01"], 64, /inn vm metrics/],
      [["Get-VIEvent", "-Start", "yesterday"], 65, /"yesterday" is no time/],
      [["Get-VM", "-o", "xml"], 64, /-o xml/],
    ] as const) {
      const result = await inn(words);
      assert.equal(result.exitCode, exitCode, `${words.join(" ")}: ${result.errors}`);
      assert.match(result.errors, said, words.join(" "));
      assert.equal(result.output, "", words.join(" "));
    }
    const { errors, exitCode } = await inn(["Get-VM", "nosuch", "-o", "json"]);
    const document = JSON.parse(errors) as { error: { code: string; field: string; exitCode: number } };
    assert.deepEqual([document.error.code, document.error.field, exitCode], ["not_found", "-Name", 66]);
  });

  test("what is said of several is said of each; -ErrorAction decides what follows", async () => {
    const both = await inn(["Get-VM", "one,two"]);
    assert.equal(both.errors.match(/there is no VM/g)?.length, 2);
    const first = await inn(["Get-VM", "one,two", "-ErrorAction", "Stop"]);
    assert.equal(first.errors.match(/there is no VM/g)?.length, 1);
    const silent = await inn(["Get-VM", "one", "-ea", "silentlycontinue"]);
    assert.deepEqual([silent.exitCode, silent.errors], [66, ""]);
  });

  test("standard input: nothing is nothing to do, a terminal has no objects", async () => {
    assert.deepEqual(await inn(["Stop-VM", "-Confirm:$false"], { input: "" }), { exitCode: 0, output: "", errors: "" });
    const typed = await inn(["Stop-VM"], { inputIsTerminal: true });
    assert.deepEqual([typed.exitCode, /Stop-VM needs -VM/.test(typed.errors)], [64, true]);
    assert.equal((await inn(["Stop-VM", "-Confirm:$false"], { input: '{"Name":"x"' })).exitCode, 64);
    const foreign = await inn(["Start-VM"], { input: '{"Name":"h1","Id":"host-000000000000"}\n' });
    assert.deepEqual([foreign.exitCode, /is the id of no VM/.test(foreign.errors)], [65, true]);
  });

  test("completion knows cmdlets, parameters, words, and names of the server", async () => {
    assert.deepEqual(await complete("Get-VM"), ["Get-VM", "Get-VMGuest", "Get-VMHost"]);
    assert.deepEqual(await complete("start-"), ["start-vm"]);
    assert.ok(!(await complete("s")).some((word) => word.includes("-")), "not in the way of other verbs");
    assert.deepEqual(await complete("New-VM", "-disk"), ["-DiskGB", "-DiskMB", "-DiskPath", "-DiskStorageFormat"]);
    assert.deepEqual(await complete("set-vmhost", "h1", "-state", "m"), ["Maintenance"]);
    assert.deepEqual(await complete("Set-VMHost", "h1", "c"), ["Connected"]);
    assert.deepEqual(await complete("Get-VM", "-o", "j"), ["json"]);
    assert.deepEqual(await complete("Get-VM", "web"), []);
    assert.deepEqual(await complete("Get-Nothing", ""), []);
  });
});

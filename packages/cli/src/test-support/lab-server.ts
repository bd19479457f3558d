/** A control plane in this process with the hosts of a lab, and the command line to it: for tests. */
import assert from "node:assert/strict";
import { copyFile, mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { startTestServer, type TestServer } from "@innkeeper/server/app/test-support/test-server.ts";
import { type Captured, captured, type CapturedOptions } from "#test-support/captured.ts";

/** TCG on a loaded machine. */
const commandTimeoutMs = 240_000;

export class LabServer implements AsyncDisposable {
  readonly lab: Lab;
  readonly server: TestServer;
  readonly #folder: AsyncDisposable & { readonly path: string };

  private constructor(lab: Lab, server: TestServer, folder: AsyncDisposable & { readonly path: string }) {
    this.lab = lab;
    this.server = server;
    this.#folder = folder;
  }

  /** The hosts are added, their pool `shared` is declared shared and holds the image `guest`. */
  static async up(options: { readonly name: string; readonly hostCount: number }): Promise<LabServer> {
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(await Lab.up(options));
    const server = stack.use(await startTestServer());
    const folder = stack.use(await mkdtempDisposable(path.join(tmpdir(), "inn-cli-lab-")));
    const made = new LabServer(lab, server, folder);
    const { ca, cert, key } = lab.clientTls;
    for (const { name, uri } of lab.hosts) {
      await made.output("host", "add", uri, "--name", name, "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key);
    }
    const [first] = lab.hosts;
    assert.ok(first);
    if (lab.hosts.length > 1) await made.output("pool", "set", `${first.name}/shared`, "--shared");
    await copyFile((await guestImage()).path, path.join(lab.sharedFolder, "guest.qcow2"));
    await made.output("pool", "refresh", `${first.name}/shared`);
    await made.output("image", "create", "guest", "--volume", `${first.name}/shared/guest.qcow2`);
    stack.move();
    return made;
  }

  /** As the administrator. */
  async inn(words: readonly string[], options: CapturedOptions = {}): Promise<Captured> {
    const { server } = this;
    const environment = { INN_SERVER: server.url, INN_TOKEN: server.token, XDG_CONFIG_HOME: this.#folder.path };
    return await captured(words, {
      timeoutMs: commandTimeoutMs,
      ...options,
      environment: { ...environment, ...options.environment },
    });
  }

  /** Standard output of a command that must succeed. */
  async output(...words: string[]): Promise<string> {
    const { exitCode, output, errors } = await this.inn(words);
    assert.equal(exitCode, 0, `inn ${words.join(" ")}: ${errors}`);
    return output;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.lab.down();
    await this.#folder[Symbol.asyncDispose]();
  }
}

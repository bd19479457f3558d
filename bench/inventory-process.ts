/** The control plane of bench/inventory-server.ts, as a process of its own on a stored fleet. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { openState } from "@innkeeper/server/app/state/open.ts";
import { storeFleet } from "./fleet.ts";

const password = "correct horse battery staple";

export async function storeNewFleet(folder: string, hosts: number, vms: number): Promise<void> {
  await using state = await openState(folder);
  await storeFleet(state.store, { hosts, vms, events: 20_000, tasks: 5000 });
}

export interface InventoryServer extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly token: string;
  churn(perSecond: number): void;
}

export async function startInventoryServer(folder: string): Promise<InventoryServer> {
  const script = path.join(import.meta.dirname, "inventory-server.ts");
  const child = spawn(process.execPath, [script, folder, password], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const [url] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    exited.then(() => Promise.reject(new Error("the server ended"))),
  ])) as [string];
  const login = await fetch(`${url}/api/v1/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: "admin", password }),
  });
  const { secret } = (await login.json()) as { secret: string };
  return {
    url,
    pid: child.pid ?? 0,
    token: secret,
    churn: (perSecond) => void child.stdin.write(`churn ${perSecond}\n`),
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

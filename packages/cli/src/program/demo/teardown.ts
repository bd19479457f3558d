/** `inn demo --down`: removes what a demo made, finished or not, twice in a row if need be. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { Lab } from "@innkeeper/lab/lab.ts";
import { changeConfig, configFile, withoutServer } from "#config.ts";
import { type DemoLayout, demoName } from "#program/demo/layout.ts";
import { stopServer } from "#program/demo/server.ts";

/** True if there was anything to remove. */
export async function takeDown(layout: DemoLayout): Promise<boolean> {
  // The control plane first: it would see hosts vanish and try to reach them.
  const hadServer = await stopServer(layout);
  const hadLab = await Lab.down(layout.labName);
  const hadFolder = existsSync(layout.folder);
  await rm(layout.folder, { recursive: true, force: true });
  changeConfig(configFile(process.env), (config) => withoutServer(config, demoName));
  return hadServer || hadLab || hadFolder;
}

/** Where the demo keeps its things, and how they are called. All files are in one folder; the lab has its own, found by name. */
import path from "node:path";

export const demoName = "demo";
const defaultStateFolder = "/var/lib/innkeeper-demo";

export interface DemoLayout {
  readonly folder: string;
  /** The control plane's own state folder. */
  readonly serverFolder: string;
  readonly serverLog: string;
  /** Process id, start time and URL of the control plane. */
  readonly serverRecord: string;
  /** The guest image is built here. */
  readonly imageFolder: string;
  readonly labName: string;
  consoleLog(vmName: string): string;
}

export function demoLayout(folder = process.env["INNKEEPER_DEMO_FOLDER"] ?? defaultStateFolder): DemoLayout {
  const inside = (name: string): string => path.join(folder, name);
  return {
    folder,
    serverFolder: inside("server"),
    serverLog: inside("server.log"),
    serverRecord: inside("server.json"),
    imageFolder: inside("image"),
    labName: process.env["INNKEEPER_DEMO_LAB"] ?? demoName,
    consoleLog: (vmName) => inside(`console-${vmName}.log`),
  };
}

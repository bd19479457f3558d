/** Runs one operation in a process of its own that is killed at one moment: argv is folder, operation, input, crash point. */
import { HostPlane } from "./host-plane.ts";

const [folder = "", operation = "", input = "", crashAt = ""] = process.argv.slice(2);
const plane = await HostPlane.open(folder, crashAt);
await plane.connected();
await plane.run(operation, JSON.parse(input));
await plane[Symbol.asyncDispose]();

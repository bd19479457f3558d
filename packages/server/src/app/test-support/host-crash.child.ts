/** Runs one operation in a process of its own that is killed at one moment: argv is folder, operation, input, moment (JSON). */
import { type CrashMoment, killAt } from "./crash-moment.ts";
import { ControlPlane } from "./control-plane.ts";

const [folder = "", operation = "", input = "", moment = ""] = process.argv.slice(2);
const plane = await ControlPlane.open({ folder, onStepBoundary: killAt(JSON.parse(moment) as CrashMoment) });
await plane.connected();
await plane.run(operation, JSON.parse(input));
await plane[Symbol.asyncDispose]();

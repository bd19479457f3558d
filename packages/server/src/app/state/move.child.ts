/** Run by the test of killed moves: moves a store. */
import { moveStore } from "./move.ts";

const [stateFolder = "", direction, url = ""] = process.argv.slice(2);
await moveStore({ stateFolder, ...(direction === "to" ? { to: { url } } : { from: { url } }), onProgress: () => {} });

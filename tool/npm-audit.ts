/**
 * `node tool/npm-audit.ts`: asks the registry's advisory service about the packages that Innkeeper runs with. Exit codes: 0
 * none is known to be vulnerable, 1 some are (listed), 75 (EX_TEMPFAIL) the service can't be reached, so nothing is known.
 */
import { spawnSync } from "node:child_process";
import path from "node:path";

interface Report {
  readonly vulnerabilities?: Readonly<Record<string, { readonly severity: string; readonly range: string }>>;
}

const timeoutMs = 60_000;

const { stdout, stderr } = spawnSync("npm", ["audit", "--omit=dev", "--json"], {
  cwd: path.resolve(import.meta.dirname, ".."),
  encoding: "utf8",
  timeout: timeoutMs,
});
const found = reportOf(stdout)?.vulnerabilities;
if (found === undefined) {
  console.error(`the advisory service can't be reached: nothing is known\n${stderr.trim()}`);
  process.exitCode = 75;
} else {
  const all = Object.entries(found);
  for (const [name, { severity, range }] of all) console.log(`${severity}: ${name} ${range}`);
  console.log(all.length === 0 ? "no package is known to be vulnerable" : `${all.length} packages are vulnerable`);
  process.exitCode = all.length === 0 ? 0 : 1;
}

function reportOf(text: string | null): Report | undefined {
  try {
    return JSON.parse(text ?? "") as Report;
  } catch {
    return undefined;
  }
}

// When things came into libvirt: functions by the versions of its exported symbols (src/libvirt_{public,qemu,lxc}.syms,
// which libvirt's own documentation takes them from), constants by the "Since:" remarks in its public headers.

export type Release = string;

/** Function → release in which it was first exported. */
export function parseSymbols(source: string): Map<string, Release> {
  const since = new Map<string, Release>();
  for (const [, release = "", body = ""] of source.matchAll(/^LIBVIRT_(?:QEMU_|LXC_)?([\d.]+) \{([^}]*)\}/gmu)) {
    for (const [name] of body.matchAll(/\bvir\w+/gu)) since.set(name, release);
  }
  return since;
}

/** A remark stands behind its constant on the same line (and goes on below), or alone before it. */
const COMMENT = String.raw`/\*((?:(?!\*/)[\s\S])*)\*/`;
const CONSTANT = new RegExp(
  String.raw`(?:${COMMENT}\s*)?^[ \t]*(?:#[ \t]*define[ \t]+)?(VIR_[A-Z0-9_]+)\b[^\n/]*(?:${COMMENT})?`,
  "gmu",
);

export function parseRemarks(source: string, since: Map<string, Release>): void {
  for (const [, before, name = "", behind] of source.matchAll(CONSTANT)) {
    const release = releaseIn(behind) ?? releaseIn(before);
    if (release !== undefined && !since.has(name)) since.set(name, release);
  }
}

function releaseIn(comment: string | undefined): Release | undefined {
  return /Since:?\s+v?(\d+\.\d+(?:\.\d+)?)/u.exec(comment ?? "")?.[1];
}

export function isNewer(release: Release, than: Release): boolean {
  const [left, right] = [release, than].map((each) => each.split(".").map(Number));
  for (let index = 0; index < 3; index += 1) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

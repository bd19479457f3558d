/** Orders of rows that were joined with the names of what they refer to. */
const collator = new Intl.Collator(undefined, { numeric: true });

/** The same name on several hosts: in the order of the hosts. */
export function byNameAndHost(
  left: { readonly name: string; readonly hostName: string },
  right: { readonly name: string; readonly hostName: string },
): number {
  return collator.compare(left.name, right.name) || collator.compare(left.hostName, right.hostName);
}

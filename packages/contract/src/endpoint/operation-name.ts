/** The name of an operation, which is also its audit action, from its endpoint's: `vmForceOff` → `vm.force-off`. */
export function operationName(operationId: string): string {
  const [, noun = operationId, verb = ""] = /^([a-z]+)([A-Z].*)?$/.exec(operationId) ?? [];
  const words = verb.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "-").toLowerCase();
  return words === "" ? noun : `${noun}.${words}`;
}

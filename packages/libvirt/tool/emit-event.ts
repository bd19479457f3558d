// Emits the table of events: for each class (domain, network, …) the event's name, its number in the public header
// (VIR_DOMAIN_EVENT_ID_…) and the message that carries it. Only messages with a callbackID are taken: the older ones
// without (before libvirt 1.3.3) cannot be told apart by subscriber.
import { camel, pascal } from "./protocol-model.ts";
import type { Procedure } from "./emit-protocol.ts";
import type { HeaderConstant } from "./header-parser.ts";

const CLASSES = [
  { name: "domain", prefix: "VIR_DOMAIN_EVENT_ID_", messages: ["domainEventCallback", "domainEvent"] },
  { name: "network", prefix: "VIR_NETWORK_EVENT_ID_", messages: ["networkEvent"] },
  { name: "storagePool", prefix: "VIR_STORAGE_POOL_EVENT_ID_", messages: ["storagePoolEvent"] },
  { name: "nodeDevice", prefix: "VIR_NODE_DEVICE_EVENT_ID_", messages: ["nodeDeviceEvent"] },
  { name: "secret", prefix: "VIR_SECRET_EVENT_ID_", messages: ["secretEvent"] },
] as const;

export function emitEvents(procedures: readonly Procedure[], constants: readonly HeaderConstant[]): string {
  const blocks = CLASSES.map(({ name, prefix, messages }) => {
    const events = constants.filter((constant) => constant.name.startsWith(prefix) && constant.group !== null);
    const rows = events.map((constant) => {
      const suffix = constant.name.slice(prefix.length).toLowerCase();
      const procedure = messages
        .map((start) =>
          procedures.find((each) => each.name.toLowerCase() === `${start}${suffix.replaceAll("_", "")}`.toLowerCase()),
        )
        .find((each) => each?.message != null);
      if (procedure?.message == null) throw new Error(`no message for ${constant.name}`);
      return { event: camel(suffix), id: constant.value, procedure };
    });
    const title = pascal(name);
    return [
      `export interface ${title}Events {\n${rows.map((row) => `  ${row.event}: type.${row.procedure.message};\n`).join("")}}\n`,
      `/** name: [event number, message] */\nexport const ${name}Events: Readonly<Record<keyof ${title}Events, readonly [number, string]>> = {\n`,
      ...rows.map((row) => `  ${row.event}: [${row.id}, ${JSON.stringify(row.procedure.name)}],\n`),
      `};\n`,
    ].join("");
  });
  return `import type * as type from "#generated/remote-type.ts";\n\n${blocks.join("\n")}`;
}

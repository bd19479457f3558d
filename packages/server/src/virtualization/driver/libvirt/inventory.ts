/** What guests a host has and what is known of them. Reads only. */
import type { Call } from "#core/call.ts";
import { timestamp } from "#core/clock.ts";
import { longDeadlineMs, onConnection } from "#libvirt/session.ts";
import type { GuestInventory } from "#virtualization/port.ts";
import { readAddresses } from "./address.ts";
import { definitionXml, type GuestDriverContext, onDomain } from "./driver-context.ts";
import { isOutcome } from "./domain-xml/outcome.ts";
import { changedGuest, readChangedGuest, readGuest, readGuests, wholeGuest } from "./guest.ts";
import { readStatistics } from "./statistics.ts";

export function guestInventory(context: GuestDriverContext): GuestInventory {
  const list = <T>(call: Call, finish: Parameters<typeof readGuests<T>>[2]): Promise<T[]> =>
    onConnection(
      context,
      call,
      "list the host's VMs",
      ({ connection, options }) => readGuests(connection.remote, options, finish),
      longDeadlineMs,
    );
  return {
    list: (call) => list(call, wholeGuest),
    listChanged: (marks, call) => list(call, (look) => changedGuest(look, marks.get(look.guest.uuid))),
    read: (uuid, call) =>
      onDomain(context, uuid, call, "read the VM", ({ remote, options }) => readGuest(remote, uuid, options)),
    readChanged: (uuid, mark, call) =>
      onDomain(context, uuid, call, "read the VM", ({ remote, options }) =>
        readChangedGuest(remote, uuid, mark, options),
      ),
    xml: (uuid, { inactive }, call) =>
      onDomain(context, uuid, call, "read the VM's XML", async ({ remote, dom, options }) => {
        if (inactive) return await definitionXml({ remote, dom, options });
        return (await remote.domainGetXmlDesc({ dom, flags: 0 }, options)).xml;
      }),
    isOutcome: (uuid, given, call) =>
      onDomain(context, uuid, call, "read the VM's XML", async (domain) =>
        isOutcome(await definitionXml(domain), given),
      ),
    addresses: (uuid, { agentConnected }, call) =>
      onDomain(context, uuid, call, "read the VM's addresses", (domain) =>
        readAddresses(context, domain, agentConnected),
      ),
    statistics: (uuids, call) =>
      onConnection(context, call, "read statistics", ({ connection, options }) =>
        readStatistics(connection.remote, uuids, timestamp(context.clock), options),
      ),
  };
}

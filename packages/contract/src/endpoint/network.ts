/** Endpoints of networks. */
import { Network, NetworkCreate } from "../resource/network.ts";
import { answersTask, endpoints, ListQuery, PageOf } from "./endpoint.ts";

export const networkEndpoint = endpoints({
  networkList: {
    method: "GET",
    path: "/networks",
    access: "network.read",
    summary: "Lists networks.",
    query: ListQuery,
    status: 200,
    response: PageOf(Network),
  },
  networkGet: {
    method: "GET",
    path: "/networks/{networkId}",
    access: "network.read",
    summary: "Shows a network.",
    status: 200,
    response: Network,
  },
  networkCreate: {
    method: "POST",
    path: "/networks",
    access: "network.create",
    summary: "Defines and starts a libvirt network on a host.",
    body: NetworkCreate,
    ...answersTask,
  },
  networkStart: {
    method: "POST",
    path: "/networks/{networkId}/start",
    access: "network.change",
    summary: "Starts a network.",
    ...answersTask,
  },
  networkStop: {
    method: "POST",
    path: "/networks/{networkId}/stop",
    access: "network.change",
    summary: "Stops a network that no running VM uses.",
    ...answersTask,
  },
  networkDelete: {
    method: "DELETE",
    path: "/networks/{networkId}",
    access: "network.delete",
    summary: "Stops and forgets a network that no VM uses.",
    ...answersTask,
  },
});

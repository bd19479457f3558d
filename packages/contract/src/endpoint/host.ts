/** Endpoints of hosts. */
import { Host, HostAdd, HostChange, HostReconnect } from "../resource/host.ts";
import { MetricQuery, MetricSeries } from "../resource/metric.ts";
import { answersTask, endpoints, ListQuery, PageOf } from "./endpoint.ts";

export const hostEndpoint = endpoints({
  hostList: {
    method: "GET",
    path: "/hosts",
    access: "host.read",
    summary: "Lists hosts.",
    query: ListQuery,
    status: 200,
    response: PageOf(Host),
  },
  hostGet: {
    method: "GET",
    path: "/hosts/{hostId}",
    access: "host.read",
    summary: "Shows a host.",
    status: 200,
    response: Host,
  },
  hostMetrics: {
    method: "GET",
    path: "/hosts/{hostId}/metrics",
    access: "host.read",
    summary: "Shows metrics of a host and all of its VMs together over time.",
    query: MetricQuery,
    status: 200,
    response: MetricSeries,
  },
  hostAdd: {
    method: "POST",
    path: "/hosts",
    access: "host.add",
    summary: "Adds a host: connects, checks and inventories it, and adopts its VMs untouched.",
    body: HostAdd,
    ...answersTask,
  },
  hostChange: {
    method: "PATCH",
    path: "/hosts/{hostId}",
    access: "host.change",
    summary: "Changes name, description, tags, cluster or maintenance mode.",
    body: HostChange,
    status: 200,
    response: Host,
  },
  hostReconnect: {
    method: "POST",
    path: "/hosts/{hostId}/reconnect",
    access: "host.add",
    summary:
      "Connects to a host anew, with other credentials or another URI if they are given; they take the place of the stored ones once the host has been reached with them.",
    body: HostReconnect,
    ...answersTask,
  },
  hostRemove: {
    method: "DELETE",
    path: "/hosts/{hostId}",
    access: "host.remove",
    summary: "Forgets a host; its VMs run on as they are.",
    ...answersTask,
  },
  hostRefresh: {
    method: "POST",
    path: "/hosts/{hostId}/refresh",
    access: "host.change",
    summary: "Reads hardware, pools, networks and VMs anew, and tests whether KVM really runs a guest.",
    ...answersTask,
  },
});

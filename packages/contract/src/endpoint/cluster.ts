/** Endpoints of clusters. Which hosts are in one is said of the hosts: see host.ts. */
import { Cluster, ClusterChange, ClusterCreate } from "../resource/cluster.ts";
import { MetricQuery, MetricSeries } from "../resource/metric.ts";
import { endpoints, ListQuery, PageOf } from "./endpoint.ts";

export const clusterEndpoint = endpoints({
  clusterList: {
    method: "GET",
    path: "/clusters",
    access: "cluster.read",
    summary: "Lists clusters.",
    query: ListQuery,
    status: 200,
    response: PageOf(Cluster),
  },
  clusterGet: {
    method: "GET",
    path: "/clusters/{clusterId}",
    access: "cluster.read",
    summary: "Shows a cluster.",
    status: 200,
    response: Cluster,
  },
  clusterMetrics: {
    method: "GET",
    path: "/clusters/{clusterId}/metrics",
    access: "cluster.read",
    summary: "Shows metrics of a cluster over time: all of its hosts together.",
    query: MetricQuery,
    status: 200,
    response: MetricSeries,
  },
  clusterCreate: {
    method: "POST",
    path: "/clusters",
    access: "cluster.create",
    summary: "Creates a cluster without hosts.",
    body: ClusterCreate,
    status: 201,
    response: Cluster,
  },
  clusterChange: {
    method: "PATCH",
    path: "/clusters/{clusterId}",
    access: "cluster.change",
    summary: "Changes a cluster's name or description.",
    body: ClusterChange,
    status: 200,
    response: Cluster,
  },
  clusterDelete: {
    method: "DELETE",
    path: "/clusters/{clusterId}",
    access: "cluster.delete",
    summary: "Deletes a cluster that no host is in.",
    status: 204,
  },
});

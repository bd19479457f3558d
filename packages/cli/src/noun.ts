/** The nouns of `inn <noun> <verb>`. A noun's file is loaded only when the command line names it. */
import type { Command } from "commander";
import type { Surroundings } from "#verb.ts";

export interface Noun {
  readonly summary: string;
  readonly load: () => Promise<(noun: Command, surroundings: Surroundings) => void>;
}

export const nouns: Readonly<Record<string, Noun>> = {
  cluster: { summary: "Clusters of hosts.", load: async () => (await import("#command/cluster.ts")).addCluster },
  host: { summary: "Physical servers.", load: async () => (await import("#command/host.ts")).addHost },
  vm: { summary: "Virtual machines.", load: async () => (await import("#command/vm.ts")).addVm },
  snapshot: { summary: "Snapshots of VMs.", load: async () => (await import("#command/snapshot.ts")).addSnapshot },
  pool: { summary: "Storage pools.", load: async () => (await import("#command/pool.ts")).addPool },
  volume: { summary: "Volumes in storage pools.", load: async () => (await import("#command/volume.ts")).addVolume },
  image: { summary: "Images that VMs are made from.", load: async () => (await import("#command/image.ts")).addImage },
  network: { summary: "Networks of hosts.", load: async () => (await import("#command/network.ts")).addNetwork },
  task: {
    summary: "Tasks: what runs, ran, and why it failed.",
    load: async () => (await import("#command/task.ts")).addTask,
  },
  event: { summary: "Events and changes.", load: async () => (await import("#command/event.ts")).addEvent },
  audit: { summary: "The audit trail.", load: async () => (await import("#command/audit.ts")).addAudit },
  user: { summary: "Users and API tokens.", load: async () => (await import("#command/user.ts")).addUser },
  system: { summary: "The control plane.", load: async () => (await import("#command/system.ts")).addSystem },
};

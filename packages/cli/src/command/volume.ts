/** `inn volume …`: disk images and other files in storage pools. */
import { createReadStream, createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { Command } from "commander";
import type { Volume, VolumeCreate } from "@innkeeper/contract/resource/volume.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import type { ApiClient } from "#client.ts";
import { usageError, valueError } from "#cli-error.ts";
import { diskBytesOf, type Invocation } from "#invocation.ts";
import { namesOf, runList } from "#list.ts";
import { find, findStorage } from "#lookup.ts";
import { given } from "#option/given.ts";
import { countedBytes, progressView } from "#output/progress.ts";
import { volumeColumns, type VolumeRow, volumeText } from "#page/storage.ts";
import { byNameAndHost } from "#output/order.ts";
import { followTask } from "#task.ts";
import { addVerb, confirmOption, listOptions, type Surroundings, taskOptions } from "#verb.ts";

async function rows(api: ApiClient, items: readonly Volume[]): Promise<VolumeRow[]> {
  const [hostName, poolName] = await Promise.all([namesOf(api, "hostList"), namesOf(api, "poolList")]);
  return items.map((item) => ({ ...item, hostName: hostName(item.hostId), poolName: poolName(item.poolId) }));
}

export function addVolume(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list [pool]",
    alias: "ls",
    summary: "List volumes, of one pool or of all.",
    operations: ["volumeList"],
    options: listOptions,
    examples: ["volume list", "volume list kvm1/default --sort -capacityBytes"],
    run: async (invocation, pool?: string) => {
      const filter = pool === undefined ? undefined : `poolId=${(await find(invocation.api, "pool", pool)).id}`;
      const kinds = ["volume"];
      await runList(invocation, {
        operation: "volumeList",
        kinds,
        columns: volumeColumns,
        rows,
        filter,
        sort: "name",
        order: byNameAndHost,
      });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <volume>",
    summary: "Show a volume.",
    operations: ["volumeGet"],
    examples: ["volume show web-vda.qcow2", "volume show kvm1/default/web-vda.qcow2"],
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "volume", name);
      const volume = await invocation.api.call("volumeGet", { parameters: { volumeId: id } });
      await invocation.show(volume, async () => (await rows(invocation.api, [volume])).map(volumeText).join("\n"));
    },
  });
  addCreate(noun, surroundings);
  addVerb(noun, surroundings, {
    usage: "resize <volume> <size>",
    summary: "Grow a volume that no running VM uses.",
    operations: ["volumeResize"],
    options: taskOptions,
    examples: ["volume resize data.qcow2 40G"],
    run: async (invocation, name, size) => {
      const capacityBytes = diskBytesOf(size, "<size>");
      const { id } = await find(invocation.api, "volume", name);
      const input = { parameters: { volumeId: id }, body: { capacityBytes } };
      await followTask(invocation, await invocation.api.call("volumeResize", input));
    },
  });
  addVerb(noun, surroundings, {
    usage: "delete <volume...>",
    alias: "rm",
    summary: "Delete volumes that nothing uses.",
    operations: ["volumeDelete"],
    options: (command) => taskOptions(confirmOption(command)),
    run: async (invocation, ...names) => {
      await invocation.confirm(`Delete ${names.join(", ")} and all that is on it?`);
      for (const name of names) {
        const { id } = await find(invocation.api, "volume", name);
        await followTask(invocation, await invocation.api.call("volumeDelete", { parameters: { volumeId: id } }));
      }
    },
  });
  addContent(noun, surroundings);
}

function addCreate(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "create <name>",
    summary: "Create a volume.",
    operations: ["volumeCreate"],
    options: (command) =>
      taskOptions(command)
        .requiredOption("--pool <pool>", "in which pool")
        .requiredOption("--size <size>", "20G, 1.5T; a bare number is GiB")
        .option("--format <format>", "qcow2 or raw", "qcow2")
        .option("--preallocate", "take the space at once"),
    examples: ["volume create data.qcow2 --pool kvm1/default --size 20G"],
    run: async (invocation, name) => {
      const { options, api } = invocation;
      const format = options.text("format");
      if (format !== "qcow2" && format !== "raw") throw valueError("--format", `"${format}" is neither qcow2 nor raw`);
      const pool = await findStorage(api, options.text("pool") ?? "");
      const capacityBytes = options.diskBytes("size") ?? 0;
      const body: VolumeCreate = {
        poolId: pool.id,
        name,
        format,
        capacityBytes,
        ...given({ preallocate: options.flag("preallocate") }),
      };
      await followTask(invocation, await api.call("volumeCreate", { body }), () => `created volume ${name}`);
    },
  });
}

function addContent(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "upload <volume> <file>",
    summary: "Write a volume's content from a file.",
    operations: ["volumeUpload"],
    options: confirmOption,
    run: async (invocation, name, file) => {
      const found = await find(invocation.api, "volume", name);
      await invocation.confirm(`Overwrite volume ${found.name} with ${file}?`);
      const sizeBytes = await fileSize(file);
      const view = progressView(invocation.terminal.errors, invocation.terminal.errorsIsTerminal);
      const stream = countedBytes(createReadStream(file, { highWaterMark: 1024 * 1024 }), found.name, sizeBytes, view);
      const volume = await invocation.api.upload(
        "volumeUpload",
        { parameters: { volumeId: found.id } },
        { stream, sizeBytes },
      );
      await invocation.show(volume, () => `uploaded ${formatBytes(sizeBytes)} to volume ${volume.name}\n`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "download <volume> <file>",
    summary: "Read a volume's content into a file; `-` is standard output.",
    operations: ["volumeDownload"],
    options: (command) => command.option("--force", "overwrite the file"),
    examples: ["volume download data.qcow2 backup.qcow2", "volume download data.raw - | gzip > data.raw.gz"],
    run: downloadVolume,
  });
}

async function downloadVolume(invocation: Invocation, name: string, file: string): Promise<void> {
  const { api, terminal, options } = invocation;
  const { id } = await find(api, "volume", name);
  if (file === "-" && terminal.outputIsTerminal)
    throw usageError("a volume is nothing for a terminal", "Redirect the output.");
  const content = await api.download("volumeDownload", { parameters: { volumeId: id } });
  const view = progressView(terminal.errors, terminal.errorsIsTerminal);
  const bytes = countedBytes(content.stream, name, content.sizeBytes, view);
  if (file === "-") {
    for await (const chunk of bytes) {
      if (!terminal.output.write(chunk)) await new Promise<void>((resolve) => terminal.output.once("drain", resolve));
    }
    return;
  }
  const flags = options.flag("force") === true ? "w" : "wx";
  await pipeline(bytes, createWriteStream(file, { flags })).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") {
      throw valueError("<file>", `${file} exists`, "Name another one, or say --force.");
    }
    throw error;
  });
  invocation.remark(`saved ${file}\n`);
}

/** Length of a regular file, in the user's words if it is none. */
export async function fileSize(file: string): Promise<number> {
  const found = await stat(file).catch((error: unknown) => {
    throw valueError("<file>", `${file} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  });
  if (!found.isFile()) throw valueError("<file>", `${file} is no regular file`);
  return found.size;
}

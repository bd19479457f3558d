/** `inn image …`: what new VMs are made from. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import type { Image } from "@innkeeper/contract/resource/image.ts";
import type { ApiClient } from "#client.ts";
import { valueError } from "#cli-error.ts";
import { fileSize } from "#command/volume.ts";
import type { Invocation } from "#invocation.ts";
import { namesOf, runList } from "#list.ts";
import { find, findStorage } from "#lookup.ts";
import { given } from "#option/given.ts";
import { countedBytes, progressView } from "#output/progress.ts";
import { imageColumns, type ImageRow, imageText } from "#page/storage.ts";
import { followTask } from "#task.ts";
import { addVerb, confirmOption, listOptions, type Surroundings, taskOptions } from "#verb.ts";

async function rows(api: ApiClient, items: readonly Image[]): Promise<ImageRow[]> {
  const hostName = await namesOf(api, "hostList");
  return items.map((item) => ({ ...item, hostName: hostName(item.hostId) }));
}

export function addImage(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List images.",
    operations: ["imageList"],
    options: listOptions,
    run: async (invocation) => {
      const kinds = ["image"];
      await runList(invocation, { operation: "imageList", kinds, columns: imageColumns, rows, sort: "name" });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <image>",
    summary: "Show an image.",
    operations: ["imageGet"],
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "image", name);
      const image = await invocation.api.call("imageGet", { parameters: { imageId: id } });
      await invocation.show(image, async () => (await rows(invocation.api, [image])).map(imageText).join("\n"));
    },
  });
  addVerb(noun, surroundings, {
    usage: "create <name>",
    summary: "Make a volume that exists an image.",
    operations: ["imageCreate"],
    options: (command) => command.requiredOption("--volume <volume>").option("--description <text>"),
    examples: ["image create debian-12 --volume kvm1/default/debian-12-genericcloud-amd64.qcow2"],
    run: async (invocation, name) => {
      const { options, api } = invocation;
      const volume = await find(api, "volume", options.text("volume") ?? "");
      const body = { name, volumeId: volume.id, ...given({ description: options.text("description") }) };
      const image = await api.call("imageCreate", { body });
      await invocation.show(image, () => `created image ${image.name}\n`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "upload <file>",
    summary: "Upload a file as a new image.",
    operations: ["imageUpload"],
    options: (command) =>
      command
        .option("--name <name>", "what to call it (default: the file's name)")
        .requiredOption("--pool <pool>", "in which pool: name, host/name, or id")
        .option("--description <text>")
        .option(
          "--sha256 <sum>",
          "refuse the file unless it has this sum (default: the file's own sum guards the way)",
        ),
    examples: ["image upload debian-12-genericcloud-amd64.qcow2 --name debian-12 --pool kvm1/default"],
    run: uploadImage,
  });
  addVerb(noun, surroundings, {
    usage: "delete <image>",
    alias: "rm",
    summary: "Delete an image and its volume, unless disks are linked to it.",
    operations: ["imageDelete"],
    options: (command) => taskOptions(confirmOption(command)),
    run: async (invocation, name) => {
      const image = await find(invocation.api, "image", name);
      await invocation.confirm(`Delete image ${image.name} and its volume ${image.volumeName}?`);
      await followTask(invocation, await invocation.api.call("imageDelete", { parameters: { imageId: image.id } }));
    },
  });
}

async function uploadImage(invocation: Invocation, file: string): Promise<void> {
  const { options, api, terminal } = invocation;
  const sizeBytes = await fileSize(file);
  if (sizeBytes === 0) throw valueError("<file>", `${file} is empty`);
  const name = options.text("name") ?? path.parse(file).name;
  const pool = await findStorage(api, options.text("pool") ?? "");
  const sha256 = options.text("sha256")?.toLowerCase() ?? (await sumOf(file, invocation.signal));
  const query = { name, pool: pool.id, sizeBytes, sha256, ...given({ description: options.text("description") }) };
  const view = progressView(terminal.errors, terminal.errorsIsTerminal);
  const stream = countedBytes(createReadStream(file, { highWaterMark: 1024 * 1024 }), name, sizeBytes, view);
  const image = await api.upload("imageUpload", { query }, { stream, sizeBytes });
  await invocation.show(image, () => `uploaded image ${image.name} (sha256 ${image.sha256 ?? sha256})\n`);
}

async function sumOf(file: string, signal: AbortSignal): Promise<string> {
  const sum = createHash("sha256");
  for await (const chunk of createReadStream(file, { signal, highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>)
    sum.update(chunk);
  return sum.digest("hex");
}

/** Content of volumes: streams both ways, each side as fast as the other. */
import { type HandlerTable, serviceContext } from "#rest/handler.ts";
import { contentLength, receive, sendOctets } from "#rest/octets.ts";
import type { RestServices } from "#rest/service.ts";

export function volumeHandlers(services: RestServices): HandlerTable {
  const { volume } = services;
  return {
    volumeUpload: async (context) => {
      const sizeBytes = contentLength(context.request);
      return receive(context, sizeBytes, (content) =>
        volume.upload(context.parameters.volumeId, content, sizeBytes, serviceContext(context)),
      );
    },
    volumeDownload: async (context) => {
      const { content, sizeBytes } = await volume.download(context.parameters.volumeId, serviceContext(context));
      await sendOctets(services, context.reply, content, sizeBytes);
    },
  };
}

/** Content of volumes: streams both ways, each side as fast as the other. */
import { type HandlerTable, serviceContext } from "#rest/handler.ts";
import { contentLength, receive, sendOctets } from "#rest/octets.ts";
import type { RestServices } from "#rest/service.ts";

export function volumeHandlers({ volume }: RestServices): HandlerTable {
  return {
    volumeUpload: async (context) => {
      const { parameters, request } = context;
      const sizeBytes = contentLength(request);
      return receive(request, sizeBytes, (content) =>
        volume.upload(parameters.volumeId, content, sizeBytes, serviceContext(context)),
      );
    },
    volumeDownload: async (context) => {
      const { content, sizeBytes } = await volume.download(context.parameters.volumeId, serviceContext(context));
      await sendOctets(context.reply, content, sizeBytes);
    },
  };
}

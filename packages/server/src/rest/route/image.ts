/** Images: made of a volume, or uploaded. */
import { type HandlerTable, serviceContext } from "#rest/handler.ts";
import { receive } from "#rest/octets.ts";
import type { RestServices } from "#rest/service.ts";

export function imageHandlers({ image }: RestServices): HandlerTable {
  return {
    imageCreate: (context) => image.create(context.body, serviceContext(context)),
    imageUpload: (context) =>
      receive(context, context.query.sizeBytes, (content) =>
        image.upload(context.query, content, serviceContext(context)),
      ),
  };
}

/** VMs: what is asked of their hosts at once, without a task. The console is in `console.ts`. */
import { type HandlerTable, serviceContext } from "#rest/handler.ts";
import type { RestServices } from "#rest/service.ts";

export function vmHandlers({ vm }: RestServices): HandlerTable {
  return {
    vmXml: async (context) => {
      const options = { inactive: context.query?.inactive ?? false };
      const xml = await vm.xml(context.parameters.vmId, options, serviceContext(context));
      await context.reply.type("application/xml; charset=utf-8").send(xml);
    },
    vmPreview: (context) => vm.preview(context.body, serviceContext(context)),
    vmMigrationCheck: (context) => vm.migrationCheck(context.parameters.vmId, context.body, serviceContext(context)),
    vmGuest: (context) => vm.guest(context.parameters.vmId, serviceContext(context)),
    vmStatistics: (context) => vm.statistics(context.parameters.vmId, serviceContext(context)),
    vmScreenshot: async (context) => {
      const picture = await vm.screenshot(context.parameters.vmId, serviceContext(context));
      await context.reply.type(picture.contentType).send(Buffer.from(picture.bytes));
    },
  };
}

/** Login, users and tokens. */
import { listPage } from "#management/inventory/list-page.ts";
import type { HandlerTable } from "#rest/handler.ts";
import { itemSchema } from "#rest/route/list.ts";
import type { RestServices } from "#rest/service.ts";

export function userHandlers({ users, inventory }: RestServices): HandlerTable {
  const tokenSchema = itemSchema("tokenList");
  return {
    login: ({ body, address }) => users.login(body, address),
    logout: ({ principal }) => users.logout(principal),
    me: ({ principal }) => inventory.require("user", principal.user.id),
    tokenList: ({ principal, query }) => {
      const own = inventory.list("token").filter((token) => token.userId === principal.user.id);
      const options = { schema: tokenSchema, defaultSort: "name", revision: inventory.revision };
      return listPage(own, query ?? {}, options) as never;
    },
    tokenCreate: ({ principal, body }) => users.createToken(principal, body),
    tokenDelete: ({ principal, parameters }) => users.deleteToken(principal, parameters.tokenId),
    userCreate: ({ body }) => users.create(body),
    userChange: ({ parameters, body, ifRevision }) => users.change(parameters.userId, body, ifRevision),
    userPassword: ({ principal, parameters, body, address }) =>
      users.changePassword(principal, parameters.userId, body, address),
    userDelete: ({ parameters, ifRevision }) => users.delete(parameters.userId, ifRevision),
  };
}

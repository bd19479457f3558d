/** Login, users and tokens. */
import { resourceTable } from "@innkeeper/contract/resource/table.ts";
import { listPage, pageText } from "#management/inventory/list-page.ts";
import { readListQuery } from "#management/inventory/list-query.ts";
import type { HandlerTable } from "#rest/handler.ts";
import type { RestServices } from "#rest/service.ts";

export function userHandlers({ users, inventory }: RestServices): HandlerTable {
  return {
    login: ({ body, address }) => users.login(body, address),
    logout: ({ principal }) => users.logout(principal),
    me: ({ principal }) => inventory.require("user", principal.user.id),
    tokenList: ({ principal, query, reply }) => {
      const own = inventory.list("token").filter((token) => token.userId === principal.user.id);
      void reply.type("application/json; charset=utf-8");
      const wanted = readListQuery(query ?? {}, resourceTable.token, "name");
      // One's own user alone may be asked for by a relation.
      const related = (_kind: string, id: string) => (id === principal.user.id ? inventory.get("user", id) : undefined);
      return pageText(listPage(own, wanted, inventory.revision, related)) as never;
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

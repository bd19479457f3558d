/** Users and their API tokens. Passwords and tokens are shown to nobody; a token's text appears once, when it is made. */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { type Role, roles } from "../privilege.ts";
import { baseFields, strict, Time } from "./base.ts";

const RoleSchema = Type.Unsafe<Role>({ type: "string", enum: roles });

/** Lower-case login names as Linux has them, with the `@realm` part that directories add. */
export const UserName = Type.String({ minLength: 1, maxLength: 100, pattern: "^[a-z_][a-z0-9_.@-]*$" });
/** NIST SP 800-63B: at least 8 characters; the upper limit bounds the hash's input. */
export const Password = Type.String({ minLength: 8, maxLength: 256 });

export const User = Type.Object({
  ...baseFields("user"),
  name: UserName,
  fullName: Type.String(),
  role: RoleSchema,
  disabled: Type.Boolean(),
  createdAt: Time,
  lastLoginAt: Type.Optional(Time),
});
export type User = Static<typeof User>;

export const UserCreate = Type.Object(
  { name: UserName, password: Password, role: RoleSchema, fullName: Type.Optional(Type.String({ maxLength: 200 })) },
  strict,
);
export type UserCreate = Static<typeof UserCreate>;

export const UserChange = Type.Object(
  {
    fullName: Type.Optional(Type.String({ maxLength: 200 })),
    role: Type.Optional(RoleSchema),
    disabled: Type.Optional(Type.Boolean()),
  },
  { ...strict, minProperties: 1 },
);
export type UserChange = Static<typeof UserChange>;

export const PasswordChange = Type.Object(
  { currentPassword: Type.Optional(Type.String({ maxLength: 256 })), newPassword: Password },
  strict,
);
export type PasswordChange = Static<typeof PasswordChange>;

export const Token = Type.Object({
  ...baseFields("token"),
  userId: IdOf("user"),
  name: Type.String(),
  createdAt: Time,
  expiresAt: Type.Optional(Time),
  lastUsedAt: Type.Optional(Time),
});
export type Token = Static<typeof Token>;

export const TokenCreate = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200 }),
    expiresInDays: Type.Optional(Type.Integer({ minimum: 1, maximum: 3650 })),
  },
  strict,
);
export type TokenCreate = Static<typeof TokenCreate>;

export const TokenCreated = Type.Object({ token: Token, secret: Type.String({ description: "shown this once" }) });
export type TokenCreated = Static<typeof TokenCreated>;

export const Login = Type.Object(
  { name: Type.String({ maxLength: 100 }), password: Type.String({ maxLength: 256 }) },
  strict,
);
export type Login = Static<typeof Login>;

export const Session = Type.Object({
  secret: Type.String({ description: "send as `Authorization: Bearer …`" }),
  expiresAt: Time,
  user: User,
});
export type Session = Static<typeof Session>;

// virTypedParameterType of libvirt-common.h.
export type TypedParameterType = "int" | "uint" | "llong" | "ullong" | "double" | "boolean" | "string";

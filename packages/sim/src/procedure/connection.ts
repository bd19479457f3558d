// Opening, features and facts of a connection (src/remote/remote_daemon_dispatch.c, qemuConnect* in qemu_driver.c).
import * as driver from "@innkeeper/libvirt/generated/internal-constant.ts";
import { VIR_CONNECT_RO } from "@innkeeper/libvirt/generated/host-constant.ts";
import { REMOTE_AUTH_NONE } from "@innkeeper/libvirt/generated/protocol-constant.ts";
import {
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_NO_CONNECT,
  VIR_FROM_NONE,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { Procedures } from "#rpc/handler.ts";

/** libvirt and QEMU of Debian 12, as major * 1,000,000 + minor * 1,000 + release. */
const LIBVIRT_VERSION = 9_000_000n;
const QEMU_VERSION = 7_002_022n;

const FEATURES = new Set([
  driver.VIR_DRV_FEATURE_FD_PASSING,
  driver.VIR_DRV_FEATURE_MIGRATE_CHANGE_PROTECTION,
  driver.VIR_DRV_FEATURE_MIGRATION_OFFLINE,
  driver.VIR_DRV_FEATURE_MIGRATION_P2P,
  driver.VIR_DRV_FEATURE_MIGRATION_PARAMS,
  driver.VIR_DRV_FEATURE_MIGRATION_V2,
  driver.VIR_DRV_FEATURE_MIGRATION_V3,
  driver.VIR_DRV_FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER,
  driver.VIR_DRV_FEATURE_REMOTE_CLOSE_CALLBACK,
  driver.VIR_DRV_FEATURE_REMOTE_EVENT_CALLBACK,
  driver.VIR_DRV_FEATURE_TYPED_PARAM_STRING,
  driver.VIR_DRV_FEATURE_XML_MIGRATABLE,
]);

export const connectionProcedures: Procedures = {
  remote: {
    authList: () => ({ types: [REMOTE_AUTH_NONE] }),
    connectOpen: (_host, { name, flags }, session) => {
      const path = pathOf(name);
      if (path !== "/system") throw badPath(path);
      if ((flags & VIR_CONNECT_RO) !== 0) session.isReadOnly = true;
      session.isOpen = true;
    },
    connectClose: () => undefined,
    connectSupportsFeature: (_host, { feature }, session) => {
      if (feature === driver.VIR_DRV_FEATURE_PROGRAM_KEEPALIVE) {
        session.startKeepalive();
        return { supported: 1 };
      }
      if (!session.isOpen) throw new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_NONE, "connection not open");
      return { supported: FEATURES.has(feature) ? 1 : 0 };
    },
    connectRegisterCloseCallback: () => undefined,
    connectUnregisterCloseCallback: () => undefined,
    connectSetIdentity: () => undefined,
    connectGetType: () => ({ type: "QEMU" }),
    connectGetVersion: () => ({ hvVer: QEMU_VERSION }),
    connectGetLibVersion: () => ({ libVer: LIBVIRT_VERSION }),
    connectGetHostname: ({ name }) => ({ hostname: name }),
    connectGetUri: () => ({ uri: "qemu:///system" }),
    connectIsSecure: () => ({ secure: 1 }),
  },
};

/** The name is a URI, or nothing for the daemon's default. */
function pathOf(name: string | null): string {
  if (name === null || name === "") return "/system";
  const match = /^qemu:\/\/[^/]*(\/[^?#]*)?/u.exec(name);
  if (match === null) throw new SimError(VIR_ERR_NO_CONNECT, VIR_FROM_NONE, name);
  return match[1] ?? "";
}

/** qemuConnectURIProbe and virConnectValidateURIPath (src/util/viruri.c). */
function badPath(path: string): SimError {
  const detail =
    path === ""
      ? "no QEMU URI path given, try qemu:///system"
      : `unexpected QEMU URI path '${path}', try qemu:///system`;
  return new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, detail);
}

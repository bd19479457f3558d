// The libvirt client of this repository against a simulated daemon over an in-memory pipe: what holds for every procedure.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { LibvirtError, VIR_ERR_NO_SUPPORT, VIR_ERR_OPERATION_DENIED, connect } from "@innkeeper/libvirt";
import { VirtualClock } from "#host/clock.ts";
import { SimHost } from "#host/sim-host.ts";
import { procedureTable } from "#procedure/table.ts";
import { SimDaemon } from "./daemon.ts";
import { pipe } from "./pipe.ts";
import type { Connection, ConnectOptions } from "@innkeeper/libvirt";

function daemon(): SimDaemon {
  return new SimDaemon(new SimHost({ name: "h1", clock: new VirtualClock(), seed: 1 }), procedureTable);
}

function client(to: SimDaemon, options: ConnectOptions = {}): Promise<Connection> {
  return connect("qemu:///system", { ...options, dial: () => to.dial() });
}

function refusal(code: number, message: string | RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof LibvirtError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, new RegExp(message));
    return true;
  };
}

describe("session", { timeout: 20_000 }, () => {
  test("opens, answers, and closes", async () => {
    const server = daemon();
    await using connection = await client(server);
    assert.deepEqual(await connection.remote.connectGetHostname(), { hostname: "h1" });
    assert.deepEqual(await connection.remote.connectGetType(), { type: "QEMU" });
    assert.equal(server.sessions.size, 1);
    await connection.close();
    while (server.sessions.size > 0) await setImmediate();
  });

  test("what nobody implements answers with libvirt's own text", async () => {
    await using connection = await client(daemon());
    await assert.rejects(
      connection.remote.nodeSuspendForDuration({ target: 0, duration: 60n, flags: 0 }),
      refusal(VIR_ERR_NO_SUPPORT, "not supported by the connection driver: virNodeSuspendForDuration"),
    );
  });

  test("a read-only client may look and not touch", async () => {
    await using connection = await client(daemon(), { readOnly: true });
    await connection.remote.connectGetHostname();
    await assert.rejects(
      connection.remote.domainCreateXml({ xmlDesc: "<domain/>", flags: 0 }),
      refusal(VIR_ERR_OPERATION_DENIED, "operation forbidden: read only access prevents virDomainCreateXML"),
    );
  });

  test("a client that stays silent after a fault that held its connection is dropped in time", async (context) => {
    context.mock.timers.enable({ apis: ["setInterval"] });
    const server = daemon();
    const [near, far] = pipe();
    const session = server.accept(far);
    near.on("error", () => undefined).resume();
    session?.startKeepalive();
    session?.hang(server);
    context.mock.timers.tick(3_600_000);
    assert.equal(session?.isClosed, false);
    session?.release(server);
    context.mock.timers.tick(60_000);
    assert.equal(session?.isClosed, true);
  });

  test("a client that breaks the protocol is dropped", async () => {
    const server = daemon();
    const [near, far] = pipe();
    server.accept(far);
    const closed = Promise.withResolvers<void>();
    near
      .on("close", closed.resolve)
      .on("error", () => undefined)
      .resume();
    near.write(Buffer.from("00000004", "hex"));
    await closed.promise;
    assert.equal(server.sessions.size, 0);
  });
});

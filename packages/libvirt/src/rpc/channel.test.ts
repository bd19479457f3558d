// What a well-behaved daemon never does, against a scripted peer: hostile bytes, silence, late answers, loss.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { connect } from "#connection/connect.ts";
import { EventOverflowError } from "#connection/event-subscription.ts";
import { frameOf } from "#framing/message.ts";
import {
  KEEPALIVE_PROC_PING,
  KEEPALIVE_PROC_PONG,
  KEEPALIVE_PROGRAM,
  VIR_NET_CONTINUE,
  VIR_NET_ERROR,
  VIR_NET_MESSAGE,
  VIR_NET_OK,
  VIR_NET_REPLY,
  VIR_NET_STREAM,
} from "#generated/protocol-constant.ts";
import { remoteProgram } from "#generated/remote-procedure.ts";
import { encoded, fakeServer, procedureName } from "#testing/fake-server.ts";
import { CallTimeoutError, ConnectionLostError, LibvirtError, ProtocolError, UnsupportedError } from "./error.ts";
import type { Message } from "#framing/message.ts";
import type { LossReason } from "./error.ts";

const isLost =
  (reason: LossReason) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof ConnectionLostError, String(error));
    assert.equal(error.reason, reason, error.message);
    return true;
  };

describe("calls", { timeout: 60_000 }, () => {
  test("answers out of order reach their callers", async () => {
    const held: Message[] = [];
    await using server = await fakeServer((message, peer) => {
      held.push(message);
      if (held.length < 3) return;
      for (const call of held.toReversed()) {
        if (procedureName(call) === "connectGetHostname") peer.reply(call, "ConnectGetHostnameRet", { hostname: "h" });
        else if (procedureName(call) === "connectGetType") peer.reply(call, "ConnectGetTypeRet", { type: "T" });
        else peer.error(call, 42);
      }
    });
    await using connection = await connect(server.uri);
    const [hostname, type, domain] = await Promise.allSettled([
      connection.remote.connectGetHostname(),
      connection.remote.connectGetType(),
      connection.remote.domainLookupById({ id: 1 }),
    ]);
    assert.deepEqual(hostname, { status: "fulfilled", value: { hostname: "h" } });
    assert.deepEqual(type, { status: "fulfilled", value: { type: "T" } });
    assert.ok(
      domain.status === "rejected" &&
        domain.reason instanceof LibvirtError &&
        domain.reason.codeName === "VIR_ERR_NO_DOMAIN",
    );
  });

  test("a deadline and a signal end the wait; the late answer is dropped; the connection lives on", async () => {
    const held: Message[] = [];
    await using server = await fakeServer((message, peer) => {
      if (procedureName(message) === "connectGetType") {
        for (const late of held) peer.reply(late, "ConnectGetHostnameRet", { hostname: "late" });
        peer.reply(message, "ConnectGetTypeRet", { type: "T" });
      } else held.push(message);
    });
    await using connection = await connect(server.uri);
    await assert.rejects(
      connection.remote.connectGetHostname({}, { timeoutMs: 20 }),
      (error) => error instanceof CallTimeoutError && error.procedure === "connectGetHostname",
    );
    const controller = new AbortController();
    const call = connection.remote.connectGetHostname({}, { signal: controller.signal });
    await turn();
    controller.abort(new Error("stop"));
    await assert.rejects(call, /stop/u);
    await assert.rejects(
      connection.remote.connectGetHostname({}, { signal: AbortSignal.abort(new Error("before")) }),
      /before/u,
    );
    assert.deepEqual(await connection.remote.connectGetType(), { type: "T" });
    assert.equal(held.length, 2);
  });

  test("requests beyond the server's limit wait here; quick ones pass the slow; a waiting one can be given up", async () => {
    const arrived: string[] = [];
    const slow: Message[] = [];
    await using server = await fakeServer((message, peer) => {
      arrived.push(procedureName(message));
      if (procedureName(message) === "connectGetHostname")
        peer.reply(message, "ConnectGetHostnameRet", { hostname: "h" });
      else slow.push(message);
    });
    await using connection = await connect(server.uri, { maxRequests: 3 });
    const dom = { name: "a", uuid: "00000000-0000-0000-0000-000000000000", id: 1 };
    const calls = [1, 2, 3].map(() => connection.remote.domainShutdown({ dom }));
    const givenUp = connection.remote.domainReboot({ dom }, { timeoutMs: 20 });
    assert.deepEqual(await connection.remote.connectGetHostname(), { hostname: "h" });
    assert.deepEqual(arrived, ["domainShutdown", "domainShutdown", "connectGetHostname"]);
    await assert.rejects(givenUp, CallTimeoutError);
    const [peer] = server.peers;
    for (let count = 0; count < 3; count += 1) {
      while (slow.length === 0) await turn();
      const next = slow.shift();
      if (next !== undefined) peer?.reply(next, null);
    }
    await Promise.all(calls);
    assert.equal(arrived.includes("domainReboot"), false);
  });

  test("wrong arguments are refused before anything is sent, and named", async () => {
    await using server = await fakeServer(() => assert.fail("nothing should arrive"));
    await using connection = await connect(server.uri);
    const dom = { name: "a", uuid: "nonsense", id: 1 };
    await assert.rejects(connection.remote.domainShutdown({ dom }), /dom\.uuid: not a UUID/u);
    await assert.rejects(connection.remote.domainLookupByName({ name: "a\0b" }), /name: a string with a NUL/u);
    await assert.rejects(connection.remote.domainLookupById({ id: 2 ** 31 }), /id: 2147483648 is not within/u);
    await assert.rejects(connection.lxc.domainOpenNamespace({ dom }), UnsupportedError);
  });

  test("an answer that cannot be read fails its call only", async () => {
    await using server = await fakeServer((message, peer) => {
      if (procedureName(message) === "connectGetType") peer.reply(message, "ConnectGetTypeRet", { type: "T" });
      else
        peer.socket.write(
          frameOf({ ...message, type: VIR_NET_REPLY, status: VIR_NET_OK }, Buffer.from("7fffffff", "hex")),
        );
    });
    await using connection = await connect(server.uri);
    await assert.rejects(
      connection.remote.connectGetHostname(),
      (error) => error instanceof ProtocolError && /hostname: length 2147483647/u.test(error.message),
    );
    assert.deepEqual(await connection.remote.connectGetType(), { type: "T" });
  });
});

describe("streams", { timeout: 60_000 }, () => {
  const vol = { pool: "p", name: "v", key: "/v" };
  const args = { vol, offset: 0n, length: 0n };

  test("a stream given up before it was open is aborted at the server when it opens", async () => {
    const opening: Message[] = [];
    const aborted = Promise.withResolvers<Message>();
    await using server = await fakeServer((message, peer) => {
      if (message.type === VIR_NET_STREAM) aborted.resolve(message);
      else if (procedureName(message) === "storageVolDownload") opening.push(message);
      else {
        for (const late of opening) peer.reply(late, null);
        peer.reply(message, "ConnectGetHostnameRet", { hostname: "h" });
      }
    });
    await using connection = await connect(server.uri);
    await assert.rejects(
      connection.stream("storageVolDownload", args, { isDedicated: false, timeoutMs: 20 }),
      CallTimeoutError,
    );
    await connection.remote.connectGetHostname();
    const { status, serial, payload } = await aborted.promise;
    assert.deepEqual([status, serial, payload.byteLength], [VIR_NET_ERROR, opening[0]?.serial, 0]);
  });

  test("reading stops after many tiny packets, too: each costs more than its byte; none is lost", async () => {
    const count = 20_000;
    await using server = await fakeServer((message, peer) => {
      if (message.type === VIR_NET_STREAM) return;
      if (procedureName(message) === "connectGetHostname") {
        peer.reply(message, "ConnectGetHostnameRet", { hostname: "h" });
        return;
      }
      peer.reply(message, null);
      const packet = frameOf({ ...message, type: VIR_NET_STREAM, status: VIR_NET_CONTINUE }, Buffer.from("x"));
      peer.socket.write(Buffer.concat(Array<Uint8Array>(count).fill(packet)));
    });
    await using connection = await connect(server.uri);
    const { readable } = await connection.stream("storageVolDownload", args, { isDedicated: false });
    // Its answer stands behind what is not read.
    await assert.rejects(connection.remote.connectGetHostname({}, { timeoutMs: 1_000 }), CallTimeoutError);
    const reader = readable.getReader();
    for (let read = 0; read < count; read += 1) await reader.read();
    assert.deepEqual(await connection.remote.connectGetHostname(), { hostname: "h" });
  });

  test("data that comes with the very answer is not lost; a lost connection ends the stream", async () => {
    await using server = await fakeServer((message, peer) => {
      if (message.type === VIR_NET_STREAM) return;
      const reply = frameOf({ ...message, type: VIR_NET_REPLY, status: VIR_NET_OK });
      const data = frameOf({ ...message, type: VIR_NET_STREAM, status: VIR_NET_CONTINUE }, Buffer.from("first"));
      peer.socket.write(Buffer.concat([reply, data]));
    });
    await using connection = await connect(server.uri);
    const { readable, writable, completed } = await connection.stream("storageVolDownload", args, {
      isDedicated: false,
    });
    const reader = readable.getReader();
    assert.equal(Buffer.from((await reader.read()).value as Uint8Array).toString(), "first");
    const next = reader.read();
    server.peers[0]?.socket.destroy();
    await assert.rejects(next, isLost("disconnected"));
    await assert.rejects(completed, isLost("disconnected"));
    await assert.rejects(writable.getWriter().write(new Uint8Array(1)), isLost("disconnected"));
  });
});

describe("loss", { timeout: 60_000 }, () => {
  test("a broken connection ends everything that is pending at once, with one error", async () => {
    await using server = await fakeServer((message, peer) => {
      if (procedureName(message) === "nodeGetInfo") peer.socket.destroy();
    });
    const connection = await connect(server.uri);
    const events = connection.events.domain("lifecycle");
    const calls = [connection.remote.connectGetHostname(), connection.remote.nodeGetInfo()];
    const [first, second] = await Promise.allSettled(calls);
    assert.ok(first?.status === "rejected" && second?.status === "rejected");
    assert.equal(first.reason, second.reason);
    isLost("disconnected")(first.reason);
    await assert.rejects(events.next(), isLost("disconnected"));
    assert.equal((await connection.closed).error, first.reason);
    await assert.rejects(connection.remote.connectGetHostname(), isLost("disconnected"));
    assert.equal(connection.isOpen, false);
  });

  const hostile: Record<string, Buffer> = {
    "a frame shorter than its header": Buffer.from("0000001b", "hex"),
    "a frame beyond the limit": Buffer.from("7fffffff", "hex"),
    "a negative length": Buffer.from("ffffffff", "hex"),
    "an answer to no call": frameOf({
      program: remoteProgram.number,
      version: 1,
      procedure: 1,
      type: VIR_NET_REPLY,
      serial: 4711,
      status: VIR_NET_OK,
    }),
    "a call from the server": frameOf({
      program: remoteProgram.number,
      version: 1,
      procedure: 1,
      type: 0,
      serial: 1,
      status: VIR_NET_OK,
    }),
    "an unknown type": frameOf({
      program: remoteProgram.number,
      version: 1,
      procedure: 1,
      type: 99,
      serial: 1,
      status: VIR_NET_OK,
    }),
    "too many descriptors": frameOf(
      { program: remoteProgram.number, version: 1, procedure: 1, type: 5, serial: 1, status: 0 },
      Buffer.from("00000021", "hex"),
    ),
    "an event that cannot be read": frameOf(
      { program: remoteProgram.number, version: 1, procedure: 318, type: VIR_NET_MESSAGE, serial: 0, status: 0 },
      Buffer.from("0000", "hex"),
    ),
  };
  for (const [what, bytes] of Object.entries(hostile)) {
    test(`${what} ends the connection`, async () => {
      await using server = await fakeServer((_message, peer) => void peer.socket.write(bytes));
      const connection = await connect(server.uri);
      await assert.rejects(connection.remote.connectGetHostname(), isLost("protocol"));
    });
  }

  test("whatever bytes come, every call ends and nothing is thrown elsewhere", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { minLength: 1, maxLength: 5 }),
        async (chunks) => {
          await using server = await fakeServer((message, peer) => {
            // A plausible header now and then, so that noise gets past the framing.
            const noise = Buffer.concat(chunks);
            peer.socket.write(
              noise[0] !== undefined && noise[0] % 2 === 0
                ? noise
                : frameOf({ ...message, type: noise[0] ?? 0 }, noise),
            );
            peer.socket.end();
          });
          const connection = await connect(server.uri);
          const events = connection.events.network("lifecycle");
          const outcome = await Promise.allSettled([
            connection.remote.nodeGetInfo({}, { timeoutMs: 5_000 }),
            events.next(),
          ]);
          for (const each of outcome) assert.equal(each.status, "rejected");
          await connection.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  test("unknown events, stream packets for nobody and unknown programs are ignored", async () => {
    const noise = [
      frameOf(
        { program: remoteProgram.number, version: 1, procedure: 9_999, type: VIR_NET_MESSAGE, serial: 0, status: 0 },
        Buffer.alloc(8),
      ),
      frameOf({ program: 0x12345678, version: 1, procedure: 1, type: VIR_NET_MESSAGE, serial: 0, status: 0 }),
      frameOf(
        { program: remoteProgram.number, version: 1, procedure: 208, type: 3, serial: 77, status: 2 },
        Buffer.alloc(100),
      ),
    ];
    await using server = await fakeServer((message, peer) => {
      peer.socket.write(Buffer.concat(noise));
      peer.reply(message, "ConnectGetHostnameRet", { hostname: "h" });
    });
    await using connection = await connect(server.uri);
    assert.deepEqual(await connection.remote.connectGetHostname(), { hostname: "h" });
  });

  test("an announced 32 MiB that never come are not allocated", async () => {
    await using server = await fakeServer((message, peer) => {
      const frame = frameOf({ ...message, type: VIR_NET_REPLY });
      frame.writeUInt32BE(33_554_000, 0);
      peer.socket.write(frame);
    });
    const connection = await connect(server.uri);
    const before = process.memoryUsage().arrayBuffers;
    const call = connection.remote.connectGetHostname({}, { timeoutMs: 50 });
    await assert.rejects(call, CallTimeoutError);
    assert.ok(process.memoryUsage().arrayBuffers - before < 4_000_000);
    await connection.close();
  });
});

function eventFrame(callbackID: number, name: string): Buffer {
  const dom = { name, uuid: "00000000-0000-0000-0000-000000000000", id: 1 };
  return frameOf(
    { program: remoteProgram.number, version: 1, procedure: 318, type: VIR_NET_MESSAGE, serial: 0, status: 0 },
    encoded("DomainEventCallbackLifecycleMsg", { callbackID, msg: { dom, event: 0, detail: 0 } }),
  );
}

describe("memory", { timeout: 60_000 }, () => {
  test("events that nobody takes are bounded by their bytes, too; those that nobody asked for are dropped", async () => {
    const huge = "x".repeat(1_000_000);
    await using server = await fakeServer((message, peer) => {
      if (procedureName(message) !== "connectDomainEventCallbackRegisterAny") return peer.reply(message, null);
      peer.reply(message, "ConnectDomainEventCallbackRegisterAnyRet", { callbackID: 7 });
      for (let count = 0; count < 20; count += 1) peer.socket.write(eventFrame(99, huge));
      for (let count = 0; count < 70; count += 1) peer.socket.write(eventFrame(7, huge));
    });
    await using connection = await connect(server.uri);
    const events = connection.events.domain("lifecycle");
    await events.ended;
    let count = 0;
    const drain = async (): Promise<void> => {
      for await (const _event of events) count += 1;
    };
    await assert.rejects(drain(), EventOverflowError);
    assert.ok(count > 60 && count <= 67, `${count} events were kept`);
  });

  test("events that come before the registration is answered are kept, but not without end: then the gap is told", async () => {
    for (const [count, size] of [
      [5, 1_000],
      [20, 1_000_000],
    ] as const) {
      await using server = await fakeServer((message, peer) => {
        if (procedureName(message) !== "connectDomainEventCallbackRegisterAny") return peer.reply(message, null);
        for (let sent = 0; sent < count; sent += 1) peer.socket.write(eventFrame(7, "x".repeat(size)));
        peer.reply(message, "ConnectDomainEventCallbackRegisterAnyRet", { callbackID: 7 });
      });
      await using connection = await connect(server.uri);
      const events = connection.events.domain("lifecycle");
      await events.ready;
      const isWhole = size === 1_000;
      for (let seen = 0; seen < (isWhole ? count : 16); seen += 1) assert.equal((await events.next()).done, false);
      if (!isWhole) await assert.rejects(events.next(), EventOverflowError);
    }
  });

  test("a peer that pings without end and reads nothing gets one answer, not as many as it asked for", async () => {
    const pings = Buffer.concat(Array.from({ length: 10_000 }, () => keepaliveFrame(KEEPALIVE_PROC_PING)));
    let received = 0;
    await using server = await fakeServer((message, peer) => {
      if (message.program === KEEPALIVE_PROGRAM) return;
      peer.socket.pause();
      peer.socket.removeAllListeners("data");
      peer.socket.on("data", (bytes: Buffer) => (received += bytes.byteLength)).pause();
      const flood = (rounds: number): void => {
        if (rounds > 0) return void peer.socket.write(pings, () => flood(rounds - 1));
        peer.reply(message, "ConnectGetHostnameRet", { hostname: "h" });
      };
      flood(100);
    });
    await using connection = await connect(server.uri, { keepalive: false });
    assert.deepEqual(await connection.remote.connectGetHostname(), { hostname: "h" });
    const [peer] = server.peers;
    peer?.socket.resume();
    await connection.close();
    // What the sockets' buffers took in, and one beyond: a few MiB of the 28 MB that were asked for.
    assert.ok(received < 14_000_000, `${received} bytes of pongs`);
  });
});

function keepaliveFrame(procedure: number): Buffer {
  return frameOf({ program: KEEPALIVE_PROGRAM, version: 1, procedure, type: VIR_NET_MESSAGE, serial: 0, status: 0 });
}

describe("keepalive", { timeout: 60_000 }, () => {
  test("a silent server is given up after its pings", async () => {
    let pings = 0;
    await using server = await fakeServer((message) => {
      if (message.program === KEEPALIVE_PROGRAM && message.procedure === KEEPALIVE_PROC_PING) pings += 1;
    });
    const connection = await connect(server.uri, { keepalive: { intervalMs: 10, count: 3 } });
    await assert.rejects(connection.remote.connectGetHostname(), isLost("keepalive"));
    assert.equal(pings, 3);
  });

  test("a message that never ends is no sign of life, however it trickles; a whole one in time is", async () => {
    await using server = await fakeServer((message, peer) => {
      if (message.program === KEEPALIVE_PROGRAM) return;
      const isEndless = procedureName(message) === "connectGetHostname";
      const frame = frameOf(
        { ...message, type: VIR_NET_REPLY, status: VIR_NET_OK },
        encoded("ConnectGetTypeRet", { type: "T" }),
      );
      if (isEndless) frame.writeUInt32BE(1_000_000, 0);
      let at = 0;
      const timer = setInterval(() => {
        peer.socket.write(at < frame.byteLength ? frame.subarray(at, at + 1) : Buffer.alloc(1));
        at += 1;
        if (peer.socket.destroyed || (!isEndless && at === frame.byteLength)) clearInterval(timer);
      }, 2);
    });
    const connection = await connect(server.uri, { keepalive: { intervalMs: 20, count: 3, messageTimeoutMs: 1_000 } });
    assert.deepEqual(await connection.remote.connectGetType(), { type: "T" });
    await assert.rejects(connection.remote.connectGetHostname(), isLost("keepalive"));
  });

  test("a server that answers pings is not; its own pings are answered", async () => {
    let pings = 0;
    let pongs = 0;
    const enough = Promise.withResolvers<void>();
    await using server = await fakeServer((message, peer) => {
      if (message.program !== KEEPALIVE_PROGRAM) return;
      if (message.procedure === KEEPALIVE_PROC_PONG) pongs += 1;
      else {
        pings += 1;
        peer.socket.write(keepaliveFrame(KEEPALIVE_PROC_PONG));
        peer.socket.write(keepaliveFrame(KEEPALIVE_PROC_PING));
      }
      if (pings >= 6 && pongs >= 5) enough.resolve();
    });
    const connection = await connect(server.uri, { keepalive: { intervalMs: 5, count: 2 } });
    const held = setInterval(() => undefined, 1_000);
    await enough.promise;
    clearInterval(held);
    assert.equal(connection.isOpen, true);
    await connection.close();
  });
});

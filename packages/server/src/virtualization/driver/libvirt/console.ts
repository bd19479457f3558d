/** What a person at the guest's screen and keyboard would have: serial console, VNC, a picture of the screen; and the agent. */
import { Hole, LibvirtError, type OpenStream, type StreamChunk, VIR_DOMAIN_CONSOLE_FORCE } from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { mapLibvirtError } from "#libvirt/error.ts";
import { readXml } from "#libvirt/read-xml.ts";
import { shortDeadlineMs } from "#libvirt/session.ts";
import type { ByteChannel } from "#core/byte-channel.ts";
import type { GuestConsole } from "#virtualization/port.ts";
import { readAgent } from "./agent.ts";
import { type DomainCall, domainRef, type GuestDriverContext, onDomain } from "./driver-context.ts";
import { ppmToPng } from "./png.ts";
import { openVnc, vncEndpoint } from "./vnc.ts";

/** 8K in PPM has 100 MB; no screen is larger. */
const screenshotMaxBytes = 128 * 1024 ** 2;

export function guestConsole(context: GuestDriverContext): GuestConsole {
  return {
    serial: (uuid, { force }, call) => openSerial(context, uuid, force, call),
    vnc: async (uuid, call) => {
      const endpoint = await onDomain(context, uuid, call, "open the VM's screen", (domain) =>
        findVnc(context, domain),
      );
      return await openVnc(endpoint, call.signal);
    },
    screenshot: (uuid, call) => onDomain(context, uuid, call, "take a picture of the VM's screen", takeScreenshot),
    agent: (uuid, call) => onDomain(context, uuid, call, "ask the VM's guest agent", readAgent),
  };
}

/** The call's signal lives as long as the console; only the opening has a deadline. */
async function openSerial(context: GuestDriverContext, uuid: string, force: boolean, call: Call): Promise<ByteChannel> {
  try {
    const connection = await context.session.connection(call);
    const args = { dom: domainRef(uuid), devName: null, flags: force ? VIR_DOMAIN_CONSOLE_FORCE : 0 };
    const options = { signal: call.signal, timeoutMs: shortDeadlineMs };
    const stream: OpenStream<void> = await connection.stream("domainOpenConsole", args, options);
    return { readable: stream.readable.pipeThrough(withoutHoles()), writable: stream.writable };
  } catch (error) {
    const mapped = mapLibvirtError(error, { what: "open the VM's console", cancelledBy: call.signal });
    // libvirt 9.0 qemuDomainOpenConsole: VIR_ERR_INTERNAL_ERROR with these words.
    if (/cannot find (default )?(console|character) device/i.test(mapped.message)) {
      const remedy = "Give it hardware.serial; it is there after the next start.";
      throw new AppError("unsupported", "The VM has no serial console.", { remedy, cause: error });
    }
    // libvirt 9.0 virChrdevOpen: VIR_ERR_OPERATION_FAILED with these words.
    if (!/active console session exists/i.test(mapped.message)) throw mapped;
    throw new AppError("conflict", "Someone else has the VM's console open.", {
      remedy: "Ask them to close it, or take it over with force.",
      cause: error,
    });
  }
}

function withoutHoles(): TransformStream<StreamChunk, Uint8Array> {
  return new TransformStream<StreamChunk, Uint8Array>({
    transform: (chunk, controller) => {
      if (!(chunk instanceof Hole)) controller.enqueue(chunk);
    },
  });
}

async function findVnc(context: GuestDriverContext, { remote, dom, options }: DomainCall) {
  const root = readXml((await remote.domainGetXmlDesc({ dom }, options)).xml);
  if (root.getAttribute("id") === null) throw new AppError("invalid_state", "The VM does not run.");
  return vncEndpoint(root, context.uri);
}

async function takeScreenshot({ connection, dom, options }: DomainCall) {
  const stream = await connection.stream("domainScreenshot", { dom, screen: 0 }, options).catch((error: unknown) => {
    // libvirt 9.0 qemuDomainScreenshot, QEMU 7.2 ui/console.c qmp_screendump.
    if (!(error instanceof LibvirtError) || !/no (screens|console) to take a? ?screen/i.test(error.message))
      throw error;
    throw new AppError("unsupported", "The VM has no screen.", { remedy: "Give it hardware.video.", cause: error });
  });
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream.readable) {
    if (chunk instanceof Hole) continue;
    size += chunk.byteLength;
    if (size > screenshotMaxBytes) throw new AppError("host_failed", "The host's picture of the screen is too large.");
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  const png = ppmToPng(bytes);
  return png ? { contentType: "image/png", bytes: png } : { contentType: stream.ret.mime ?? "image/png", bytes };
}

/** Other people's watchers of events on a daemon, each a process of its own: python3-libvirt and virsh. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** Every kind that there is; each event is a line: class, kind, name of the object, and what else the callback is told. */
const program = String.raw`
import json, sys, threading, libvirt
libvirt.virEventRegisterDefaultImpl()
libvirt.registerErrorHandler(lambda *error: None, None)
c = libvirt.open(sys.argv[1])
def plain(v):
    if isinstance(v, int) and not isinstance(v, bool): return str(v)
    if isinstance(v, dict): return {k: plain(x) for k, x in v.items()}
    return v
def told(conn, object, *rest):
    *values, (kind, id) = rest
    name = object.name() if hasattr(object, 'name') else object.UUIDString()
    print(json.dumps([kind, id, name, *map(plain, values)]), flush=True)
def watch(kind, register, last):
    for id in range(last): register(None, id, told, (kind, id))
watch('domain', c.domainEventRegisterAny, 27)
watch('network', c.networkEventRegisterAny, 1)
watch('storagePool', c.storagePoolEventRegisterAny, 2)
watch('secret', c.secretEventRegisterAny, 2)
print('ready', flush=True)
while True: libvirt.virEventRunDefaultImpl()
`;

export class OtherWatch implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;

  private constructor(program: string, argv: readonly string[]) {
    this.#child = spawn(program, argv, { stdio: ["ignore", "pipe", "inherit"] });
  }

  /** Resolves when all callbacks are registered. */
  static async python(uri: string): Promise<OtherWatch> {
    const watch = new OtherWatch("/usr/bin/python3", ["-c", program, uri]);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    watch.#child.once("exit", () => reject(new Error("python3 ended")));
    watch.#read((line) => (line === "ready" ? resolve() : watch.lines.push(line)));
    await promise;
    return watch;
  }

  /** @param command such as `net-event --event lifecycle`. virsh does not say when it is registered: who starts it sees by a first event. */
  static virsh(uri: string, command: string): OtherWatch {
    const watch = new OtherWatch("virsh", [
      "--quiet",
      "--connect",
      uri,
      ...command.split(" "),
      "--loop",
      "--timestamp",
    ]);
    watch.#read((line) => watch.lines.push(line));
    return watch;
  }

  #read(take: (line: string) => unknown): void {
    createInterface({ input: this.#child.stdout as Readable }).on("line", take);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}

/** virsh's events without their time; what follows an event's first line belongs to it. */
export function virshEvents(lines: readonly string[]): string[] {
  const events: string[] = [];
  for (const line of lines) {
    const [, event] = /^\d{4}-\d\d-\d\d [\d:.]+\+0000: (.*)$/u.exec(line) ?? [];
    if (event !== undefined) events.push(event);
    else if (line !== "") events.push(`${events.pop() ?? ""}\n${line}`);
  }
  return events;
}

/** python3-libvirt, libvirt's own C client, in one process that evaluates expressions and answers in JSON. */
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";

/** Integers as text, so that 64 bits stay exact; objects by what names them. */
const program = String.raw`
import json, re, sys, threading, time, libvirt, libvirt_qemu
libvirt.registerErrorHandler(lambda *error: None, None)
c = libvirt.open(sys.argv[1])
def plain(v):
    if isinstance(v, bool) or v is None or isinstance(v, (str, float)): return v
    if isinstance(v, int): return str(v)
    if isinstance(v, dict): return {str(k): plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)): return [plain(x) for x in v]
    if isinstance(v, libvirt.virStorageVol): return plain([v.storagePoolLookupByVolume().name(), v.name(), v.key()])
    if isinstance(v, (libvirt.virDomain, libvirt.virNetwork, libvirt.virStoragePool)): return plain([v.name(), v.UUIDString()])
    return v.name() if hasattr(v, 'name') else v.getName()
def upload(vol, data):
    st = c.newStream(); vol.upload(st, 0, len(data), 0); st.sendAll(lambda s, n, o: o.pop() if o else b'', [data]); st.finish()
def download(vol):
    st = c.newStream(); vol.download(st, 0, 0, 0); out = []
    st.recvAll(lambda s, d, o: o.append(d) or len(d), out); st.finish(); return b''.join(out).decode()
def screenshot(dom):
    st = c.newStream(); mime = dom.screenshot(st, 0, 0); st.abort(); return mime
def strip(xml):
    return re.sub(r"<(allocation|available).*", "", xml)
def until(is_so):
    end = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > end: raise TimeoutError()
        time.sleep(0.02)
def ready(dom): until(lambda: "ready='yes'" in dom.XMLDesc())
def jobless(dom): until(lambda: dom.jobInfo()[0] == 0)
def in_state(dom, state): until(lambda: dom.state()[0] == state)
def responds(dom):
    try: return libvirt_qemu.qemuAgentCommand(dom, '{"execute":"guest-ping"}', 2, 0)
    except libvirt.libvirtError: return False
def answers(dom): until(lambda: responds(dom))
def post_copied(dom, uri, flags):
    mover = threading.Thread(target=dom.migrateToURI3, args=(uri, {'bandwidth': 1}, flags)); mover.start()
    until(lambda: dom.jobInfo()[4] > 0); dom.migrateStartPostCopy(); mover.join()
def monitor(dom, **cmd):
    return json.loads(libvirt_qemu.qemuMonitorCommand(dom, json.dumps(cmd), 0))["return"]
def console(dom):
    st = c.newStream(); dom.openConsole(None, st, 0); st.abort()
names = {name: each for name, each in globals().items() if not name.startswith('_')}
for line in sys.stdin:
    q = json.loads(line)
    try:
        local = dict(names)
        for k, code in q['let'].items(): local[k] = names.get(code) if code in names else eval(code, local)
        if 'keep' in q: names[q['keep']] = eval(q['code'], local); value = None
        else: value = plain(eval(q['code'], local))
        answer = {'value': value}
    except libvirt.libvirtError as e:
        answer = {'error': [e.get_error_code(), e.get_error_domain(), e.get_error_message()]}
    except Exception as e:
        answer = {'broken': repr(e)}
    print(json.dumps(answer), flush=True)
`;

/** What a call came to: its value, or libvirt's error as code, domain and message. */
export type Outcome =
  | { readonly value: unknown }
  | { readonly error: readonly [code: number, domain: number, message: string] };

export class Python implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;

  constructor(uri: string) {
    this.#child = spawn("/usr/bin/python3", ["-c", program, uri]);
    this.#child.stderr.pipe(process.stderr);
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** `variables` are expressions, evaluated first; `c` is the connection. */
  run(code: string, variables: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    return this.#ask({ code, let: variables });
  }

  /** Keeps an object under a name for later expressions. */
  async keep(name: string, code: string): Promise<void> {
    await this.#ask({ code, let: {}, keep: name });
  }

  async #ask(question: unknown): Promise<Outcome> {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("python3 ended");
    const answer = JSON.parse(value) as Outcome | { readonly broken: string };
    if ("broken" in answer) throw new Error(`python3: ${answer.broken} in ${JSON.stringify(question)}`);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end();
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#child.exitCode !== null) return;
    this.#child.once("exit", () => resolve());
    await promise;
  }
}

/**
 * A lock among all processes of this machine (of this network namespace). It is the name of an abstract socket: free
 * again when its holder releases it or dies, with nothing left on disk. Facts: unix(7), "abstract".
 */
import { createServer, type Server } from "node:net";
import { waitFor } from "#wait.ts";

interface MachineLock extends Disposable {
  readonly name: string;
}

/** Resolves when this process holds the lock. */
export async function machineLock(
  name: string,
  options: { readonly signal?: AbortSignal | undefined; readonly timeoutMs: number },
): Promise<MachineLock> {
  const server = await waitFor(`the lock ${name}`, () => tryListen(`\0innkeeper-${name}`), options);
  server.unref();
  return { name, [Symbol.dispose]: () => void server.close() };
}

function tryListen(socketName: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen(socketName, () => resolve(server));
  });
}

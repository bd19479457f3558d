/** How many watches and consoles each user has open at once: each costs a connection here, and a console one on its host. */
import { AppError } from "#core/app-error.ts";

/** Far more than a person's windows, and few enough that no user takes the server from the others. */
const streamsMax = 64;
const retryAfterSeconds = 10;

export class StreamLimit {
  readonly #open = new Map<string, number>();

  /** too_many_attempts when the user has too many; dispose it when the stream ends. */
  take(userId: string, userName: string): Disposable {
    const count = this.#open.get(userId) ?? 0;
    if (count >= streamsMax) {
      throw new AppError("too_many_attempts", `${userName} has ${streamsMax} watches and consoles open already.`, {
        remedy: "Close some of them.",
        fault: { retryAfterSeconds },
      });
    }
    this.#open.set(userId, count + 1);
    let isTaken = true;
    return {
      [Symbol.dispose]: () => {
        if (!isTaken) return;
        isTaken = false;
        const left = (this.#open.get(userId) ?? 1) - 1;
        if (left === 0) this.#open.delete(userId);
        else this.#open.set(userId, left);
      },
    };
  }
}

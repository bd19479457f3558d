/**
 * Answers with pages of lists. A large page is compressed, and kept as it goes on the wire for whoever asks the same until
 * something in it can have changed. Who may list a kind sees all of it: one answer is for all of them.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Kind } from "@innkeeper/contract/id.ts";
import { pageText } from "#management/inventory/list-page.ts";
import type { ListRequest } from "#management/inventory/list-query.ts";
import type { ListViews } from "#management/inventory/list-view.ts";
import { chooseCoding, compress } from "#rest/compression.ts";

/** A smaller answer goes in a few packets as it is. */
const compressedMin = 8 * 1024;
/** A smaller page is made faster than it is looked for. */
const keptMin = 256 * 1024;
const keptMax = 6;
/** A page says from which revision to watch: one that is kept must not fall out of the change log (maintenance.ts). */
const revisionsMax = 1000;

interface Kept {
  readonly changedAt: number;
  readonly revision: number;
  readonly body: Promise<Buffer>;
}

export class ListAnswers {
  readonly #lists: ListViews;
  readonly #kept = new Map<string, Kept>();

  constructor(lists: ListViews) {
    this.#lists = lists;
  }

  /** The body of the answer; its headers are set. */
  async body(
    { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
    kind: Kind,
    wanted: ListRequest,
  ): Promise<string | Buffer> {
    const coding = chooseCoding(request.headers["accept-encoding"]?.toString());
    void reply.headers({ "content-type": "application/json; charset=utf-8", vary: "accept-encoding" });
    const { filterText, sort, fields, after, limit } = wanted;
    const key = JSON.stringify([coding, kind, filterText, sort, fields, after, limit]);
    const changedAt = this.#lists.changedAt(kind, wanted);
    let kept = this.#kept.get(key);
    if (kept === undefined || kept.changedAt !== changedAt || this.#lists.revision - kept.revision > revisionsMax) {
      this.#kept.delete(key);
      const page = this.#lists.page(kind, wanted);
      const text = pageText(page);
      if (text.length < compressedMin || (coding === undefined && text.length < keptMin)) return text;
      const content = Buffer.from(text);
      const body = coding === undefined ? Promise.resolve(content) : compress(coding, content);
      kept = { changedAt, revision: page.revision, body };
      if (text.length >= keptMin) this.#keep(key, kept);
    }
    const body = await kept.body;
    if (coding !== undefined) void reply.header("content-encoding", coding);
    return body;
  }

  #keep(key: string, kept: Kept): void {
    this.#kept.set(key, kept);
    kept.body.catch(() => this.#kept.delete(key));
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > keptMax && oldest !== undefined) this.#kept.delete(oldest);
  }
}

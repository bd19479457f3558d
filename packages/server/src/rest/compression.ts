/** Compression of large answers, as the client takes them: RFC 9110 §12.5.3; zstd is RFC 8878, br RFC 7932. */
import { promisify } from "node:util";
import { brotliCompress, constants, gzip, zstdCompress } from "node:zlib";

const brotli = promisify(brotliCompress);
const zstd = promisify(zstdCompress);

/** Of what a client takes equally, the first. Levels are the fastest: lists are repetitive, and many ask at once. */
const compressors = {
  zstd: (content: Buffer) => zstd(content, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
  br: (content: Buffer) => brotli(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
  gzip: (content: Buffer) => promisify(gzip)(content, { level: 1 }),
} as const;

type ContentCoding = keyof typeof compressors;

export async function compress(coding: ContentCoding, content: Buffer): Promise<Buffer> {
  return await compressors[coding](content);
}

/** The coding that the client likes best; undefined: as it is. */
export function chooseCoding(acceptEncoding: string | undefined): ContentCoding | undefined {
  if (acceptEncoding === undefined) return undefined;
  const weights = new Map(
    acceptEncoding.split(",").map((part) => {
      const [name = "", ...parameters] = part.split(";").map((each) => each.trim().toLowerCase());
      const weight = parameters.find((each) => each.startsWith("q="))?.slice(2);
      return [name === "x-gzip" ? "gzip" : name, weight === undefined ? 1 : Number(weight)] as const;
    }),
  );
  const weightOf = (coding: string): number => weights.get(coding) ?? weights.get("*") ?? 0;
  const [best] = (Object.keys(compressors) as ContentCoding[]).toSorted((a, b) => weightOf(b) - weightOf(a));
  return best !== undefined && weightOf(best) > 0 ? best : undefined;
}

// The one error of the codec: a value that cannot be written, or bytes that cannot be read. `path` leads to the field
// ("dom.uuid", "retStats[3].params"), so that a caller sees which argument is wrong.

export class CodecError extends Error {
  override readonly name = "CodecError";
  readonly reason: string;
  path: string;

  constructor(reason: string, path = "") {
    super(reason);
    this.reason = reason;
    this.path = path;
  }

  /** Called while the error travels outwards: puts one more step before the path. */
  within(step: string): this {
    this.path = this.path === "" || this.path.startsWith("[") ? `${step}${this.path}` : `${step}.${this.path}`;
    this.message = `${this.path}: ${this.reason}`;
    return this;
  }
}
